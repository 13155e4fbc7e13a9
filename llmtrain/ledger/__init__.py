"""The bill outside the cluster: lines from job statuses, as CSV and FOCUS columns, and held against an invoice."""
