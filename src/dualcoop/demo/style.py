"""How the report looks."""

CSS = """
:root { color-scheme: light; --ink: #1d2733; --soft: #5b6878; --line: #dfe4ea; --ours: #0b6e99; --other: #a9b4c0;
  --right: #17753f; --wrong: #b3261e; --missed: #8a6100; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 2rem 1.25rem 4rem; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; }
p, ol, ul { max-width: 46rem; }
.lead { font-size: 1.15rem; }
.soft, figcaption, small { color: var(--soft); }
a { color: var(--ours); }
code { background: #f2f4f7; border-radius: 4px; padding: .1em .35em; font-size: .9em; }
pre { background: #f2f4f7; border-radius: 8px; padding: .9rem 1.1rem; overflow-x: auto; font-size: .88rem; }
pre code { background: none; padding: 0; }
table { border-collapse: collapse; font-size: .93rem; }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; white-space: nowrap; }
.facts td:first-child { white-space: normal; width: 12rem; }
.facts td { text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; }
.chart { width: 100%; max-width: 50rem; margin: 1rem 0; }
.bar { display: grid; grid-template-columns: 13.5rem 1fr 8.5rem; gap: .8rem; align-items: center; margin: .35rem 0; }
.track { position: relative; height: 1.5rem; background: #f2f4f7; border-radius: 4px; }
.fill { position: absolute; inset: 0 auto 0 0; background: var(--other); border-radius: 4px; }
.ours .fill { background: var(--ours); }
.range { position: absolute; top: 50%; height: 2px; background: var(--ink); }
.bar .name { text-align: right; }
.bar > span { white-space: nowrap; }
.bar b { font-variant-numeric: tabular-nums; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1.1rem; }
.card { border: 1px solid var(--line); border-radius: 10px; overflow: hidden; display: flex; flex-direction: column; }
.card .views { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; background: var(--line); }
.card .views.single { grid-template-columns: 1fr; }
.card figure { margin: 0; background: #f2f4f7; }
.card img { display: block; width: 100%; height: 9.5rem; object-fit: contain; }
.card figcaption { font-size: .75rem; padding: .2rem .5rem; }
.card dl { margin: 0; padding: .5rem .8rem .8rem; font-size: .88rem; }
.card dt { color: var(--soft); font-size: .75rem; margin-top: .45rem; }
.card dd { margin: 0; }
.tag { display: inline-block; border-radius: 5px; padding: 0 .4rem; margin: .12rem .15rem .12rem 0; border: 1px solid; }
.right { color: var(--right); background: #e9f6ee; }
.wrong { color: var(--wrong); background: #fdeceb; text-decoration: line-through; }
.missed { color: var(--missed); background: #fff; border-style: dashed; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--ours); margin-bottom: .8rem; }
.credits { font-size: .8rem; line-height: 1.4; max-width: none; padding-left: 1.2rem; }
.up { color: var(--right); } .down { color: var(--wrong); }
"""
