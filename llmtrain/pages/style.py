"""The look of the pages: one column that fits a phone, dark where the reader's device is."""

STYLE = """
:root{--ink:#1b1f24;--paper:#fff;--faint:#d6dbe1;--own:#0b6bcb;--rent:#c2410c;--mark:#15803d}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--paper:#14171b;--faint:#3a4149;--own:#6cb4ff;--rent:#ff9f6b;--mark:#5bd38a}}
*{box-sizing:border-box}
body{font:16px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:52rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem}
small{opacity:.75}sup+sup::before{content:","}sup a{color:inherit;opacity:.7;text-decoration:none}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid var(--faint)}
dl{display:grid;grid-template-columns:minmax(0,2fr) minmax(0,1fr);gap:.2rem .8rem}dt{opacity:.8}dd{margin:0;font-weight:600}
figure{margin:1.4rem 0}figcaption{font-weight:600;margin-bottom:.3rem}
svg{width:100%;height:auto;display:block}
svg text{font:15px system-ui,sans-serif;fill:var(--ink)}
.tick.x,.axis{text-anchor:middle}.tick.y{text-anchor:end;dominant-baseline:middle}svg text.bar{text-anchor:end;font-size:13px}
.grid{stroke:var(--faint);stroke-width:1}.curve{fill:none;stroke-width:2.5}
.curve.own{stroke:var(--own)}.curve.rent{stroke:var(--rent)}
line.mark{stroke:var(--mark);stroke-dasharray:4 3}circle.mark{fill:var(--mark)}svg text.mark{fill:var(--mark);font-weight:700}
rect.bar{fill:var(--own);opacity:.75}
.legend span{margin-right:1rem}.legend span::before{content:"";display:inline-block;width:1.2rem;height:.2rem;margin-right:.4rem;vertical-align:middle}
.legend .own::before{background:var(--own)}.legend .rent::before{background:var(--rent)}
.curve.option-0{stroke:#0b6bcb}.curve.option-1{stroke:#c2410c}.curve.option-2{stroke:#15803d}.curve.option-3{stroke:#9333ea}
.curve.option-4{stroke:#b45309}.curve.option-5{stroke:#0e7490}.curve.option-6{stroke:#be185d}.curve.option-7{stroke:#64748b}
.legend .option-0::before{background:#0b6bcb}.legend .option-1::before{background:#c2410c}.legend .option-2::before{background:#15803d}
.legend .option-3::before{background:#9333ea}.legend .option-4::before{background:#b45309}.legend .option-5::before{background:#0e7490}
.legend .option-6::before{background:#be185d}.legend .option-7::before{background:#64748b}
.sources li{overflow-wrap:anywhere;font-size:.9rem}
"""
