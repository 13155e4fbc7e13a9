"""Every number that the manifest does not give, with where it comes from."""

from dataclasses import dataclass

from llmtrain.cost.ranges import Range, lognormal


@dataclass(frozen=True)
class Assumption:
    """A number that was taken, in words, with its source."""

    name: str
    value: str
    source: str
    date: str = ""


START_HOURS = Range(25 / 3600, 60 / 3600, 300 / 3600)
START = Assumption(
    "start of a stage's cluster",
    "25 s / 60 s / 300 s",
    "p10 measured with cached images on one node (docs/decisions.md); p90 with images of several GB to pull: assumption",
)
CHECK_HOURS = Range(2 / 3600, 10 / 3600, 60 / 3600)

BYTES_PER_TOKEN, KEPT_SHARE = 4.2, 0.5
CURATION_INPUT = Assumption(
    "text to curate",
    f"{BYTES_PER_TOKEN} bytes a token, {KEPT_SHARE:.0%} of the text kept",
    "assumption: the sources' sizes are not known before they are listed; give them with --input-bytes",
)
CURATION_BYTES_PER_CORE_SECOND = lognormal(0.6e6, 0.7)
CURATION_SPEED = Assumption(
    "speed of curation",
    "0.25 / 0.6 / 1.5 MB of text per core and second",
    "p50 measured: 0.63 on one core, 2.9 MB of English documents, default rules; the range is an assumption, "
    "`llmtrain run-local --calibrate` measures",
    "2026-11-25",
)

EVALUATION_MFU = lognormal(0.10, 0.6)
EVALUATION_SPEED = Assumption("MFU of evaluation", "0.05 / 0.10 / 0.22", "assumption: short, unpacked questions")
TOKENS_PER_QUESTION = 300.0
QUESTIONS = Assumption(
    "an evaluation question",
    "300 tokens a question and example; 1,000 questions where the file is not known",
    "assumption",
)

CPU_TFLOPS_PER_CORE = 0.05
STORED = Assumption(
    "storage and egress, in no bill", "tokens and checkpoints of 12 bytes a parameter while training runs; one leaves",
    "the manifest; nobody measures them",
)  # fmt: skip
CPU_PEAK = Assumption(
    "peak of a CPU core", "0.05 TFLOP/s fp32", "assumption: 3 GHz x 16 FLOPs a cycle; a plan may give `peakTflops`"
)

LOAD_SHARE, RENTED_PUE = 0.65, 1.1
RENTED_POWER = Assumption(
    "power of a rented accelerator",
    f"server power x {LOAD_SHARE} load x PUE {RENTED_PUE}",
    "H100: 0.91 kWh an hour, as Granite 3.0 measured of its whole facility (table 7)",
    "2024",
)
KW_PER_TFLOPS = 0.0013
UNKNOWN_POWER = Assumption(
    "power of an accelerator that is not in the table", "1.3 W per TFLOP/s", "ratio of an H100 server"
)
KW_PER_CORE = 0.008
CPU_POWER = Assumption("power of a CPU core", "8 W", "assumption: 1 kW server of 128 cores")

DEVELOPMENT = Range(2.0, 3.4, 5.6)
DEVELOPMENT_MULTIPLIER = Assumption(
    "development beside the final run",
    "x2.0 / x3.4 / x5.6 of the final run, all experiments and failed starts included",
    "OLMo up to 2: final run is 50 % [2503.05804]; LLaMA: 2,638 MWh in all to 777 MWh of final runs [2302.13971]; "
    "Olmo 3: 18 %",
    "2025",
)

MFU_SOURCE = (
    "209 rows of llm-foundry@8c8dd48 and 77 published runs of 36 families; `llmtrain accuracy` shows the misses"
)
STEADY_TO_CALENDAR = lognormal(0.92, 0.06)
STEADY = Assumption(
    "calendar over steady speed of a measured training",
    "0.85 / 0.92 / 0.99",
    "Llama 3.1 405B .84-.91, SmolLM3 .98, Gopher .93, GLM-130B .77 at least",
    "2024",
)

PREEMPTED_SAVE_SECONDS, PREEMPTED_RESTART_SECONDS = 30.0, 300.0
PREEMPTION = Assumption(
    "a preemption", "300 s until training goes on, 30 s for a checkpoint", "assumption; the rate is the plan's"
)
