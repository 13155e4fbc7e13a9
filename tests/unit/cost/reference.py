"""Inputs of the published reference model of owning: a small buyer of 64 H100, a large one, an A100, and a naive guide."""

from dataclasses import replace

from llmtrain.cost.owned import OwnedInputs

BASE = OwnedInputs(
    accelerators=64, server_per_accelerator_usd=32000, network_share=0.19, storage_share=0.05, installation_share=0.03,
    spares_share=0.03, useful_life_months=48, resale_decay_oom_per_year=0.14, resale_haircut=0.85,
    discount_rate_per_year=0.10, colocation_kw_month_usd=184, power_kw_per_accelerator=1.275, reserved_power_margin=1.10,
    load_share=0.75, idle_share=0.30, pue=1.25, kwh_usd=0.0826, maintenance_share_per_year=0.05,
    insurance_share_per_year=0.005, staff_fte=0.5, fte_year_usd=180000, availability=0.97, utilization=0.70,
)  # fmt: skip
LARGE = replace(
    BASE, accelerators=2048, server_per_accelerator_usd=23750, colocation_kw_month_usd=140, pue=1.20, staff_fte=6,
    maintenance_share_per_year=0.03, discount_rate_per_year=0.09, useful_life_months=60,
)  # fmt: skip


A100 = replace(BASE, server_per_accelerator_usd=18549, power_kw_per_accelerator=0.8125)
GUIDE = replace(
    A100, server_per_accelerator_usd=10000, network_share=0, storage_share=0, installation_share=0, spares_share=0,
    colocation_kw_month_usd=0, maintenance_share_per_year=0, insurance_share_per_year=0, staff_fte=0, kwh_usd=0.10, pue=1.1,
)  # fmt: skip
