/** Three slices, one of them filled: the panel's tab in the viewer, which keeps its own set of icons to itself. */
const ICON = encodeURIComponent(
  "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 22 22' fill='none' stroke='#5acce6' stroke-width='1.4' stroke-linejoin='round'>" +
    "<path d='M3 7l8-4 8 4-8 4z'/><path d='M3 11l8-4 8 4-8 4z' fill='#5acce6'/><path d='M3 15l8-4 8 4-8 4z'/></svg>",
);

/** Outside of the panel: its tab, and the cursor over the image while a tool of ours is in hand. */
export const outside = `
[data-cy="fewsam-btn"] svg { background:url("data:image/svg+xml,${ICON}") center/20px no-repeat }
[data-cy="fewsam-btn"] svg > * { display:none }
.fewsam-hand, .fewsam-hand * { cursor:crosshair !important }
ol[data-sonner-toaster] { left:16px !important; right:auto !important; width:446px !important } /* its notices lay over the panel */
`;

export const style = `
#fewsam-panel { color:#e6ecff; font:13px/1.35 system-ui,sans-serif; padding:6px 8px; height:100%; overflow-y:auto; box-sizing:border-box;
  scrollbar-color:#3a54a3 #0d1430; scrollbar-width:thin; color-scheme:dark; background:#000; scroll-padding-top:96px }
#fewsam-panel h4 { margin:4px 0 1px; font-size:11px; letter-spacing:.05em; text-transform:uppercase; color:#a9b8e6; font-weight:600 }
#fewsam-panel h4 .faint { letter-spacing:0; text-transform:none; font-weight:400 }
#fewsam-panel button { background:#22346b; color:#e6ecff; border:1px solid #4a66bd; border-radius:4px; padding:3px 5px; cursor:pointer; font:inherit }
#fewsam-panel button:hover:not(:disabled) { background:#31499a }
#fewsam-panel button:disabled { color:#9aa7cf; background:#18234a; border-color:#2b3a70; cursor:default }
#fewsam-panel button.on { background:#4561d6; border-color:#a9bbff }
#fewsam-panel button.main { background:#1f7440; border-color:#4fc07a }
#fewsam-panel :focus-visible { outline:2px solid #ffe14d; outline-offset:1px }
#fewsam-panel .fs-row { display:flex; gap:4px; flex-wrap:wrap; align-items:center; margin:3px 0 }
#fewsam-panel .fs-row > button { flex:1 1 auto }
#fewsam-panel .edits > button { font-size:12px; padding:2px 4px }
#fewsam-panel .faint { color:#a9b8e6; font-size:12px }
#fewsam-panel p.faint { margin:8px 0 0 }

#fewsam-said { display:flow-root; position:sticky; top:-6px; margin-top:-6px; padding-top:6px; height:92px; box-sizing:border-box; z-index:2; background:#000 } /* also beside what is below */
#fewsam-panel .message { padding:5px 7px; border-radius:4px; background:#16224a; white-space:pre-wrap; overflow-wrap:anywhere }
#fewsam-panel #fewsam-message { height:66px; box-sizing:border-box; overflow-y:auto; scrollbar-width:thin }
#fewsam-panel #fewsam-message.asks, #fewsam-panel #fewsam-message:has(details[open]) { height:auto; min-height:66px; position:absolute; inset:6px 0 auto 0; box-shadow:0 4px 14px #000 }
#fewsam-panel #fewsam-message .fs-row { margin:2px 0 0 }
#fewsam-panel #fewsam-answers > button { padding:2px 4px; font-size:12px }
#fewsam-panel #fewsam-message details { display:inline }
#fewsam-panel #fewsam-message summary { display:inline; margin:0 0 0 4px; color:inherit; text-decoration:underline; list-style:none }
#fewsam-panel .message.asks { background:#5a4a1f; color:#fff2d0 }
#fewsam-panel .message.bad { background:#5a1f2a; color:#ffd9d9 }
#fewsam-panel .message.good { background:#1c4a2c; color:#d9ffe4 }
#fewsam-panel #fewsam-below { flex-wrap:nowrap; margin:2px 0 0 }
#fewsam-panel #fewsam-below > button { flex:none }
#fewsam-person { flex:1; display:flex; gap:4px; min-width:0 }
#fewsam-panel #fewsam-person input { padding:0 6px; line-height:18px; border-color:#ffe9a8 }
#fewsam-hint { flex:1; color:#ffe9a8; font-size:12px; height:18px; overflow:hidden; text-overflow:ellipsis; white-space:nowrap }
#fewsam-panel #fewsam-problems { margin:6px 0 }
#fewsam-panel #fewsam-problems:empty { display:none }

#fewsam-panel #fewsam-new > button { flex:none; min-width:64px }
#fewsam-classes { max-height:194px; overflow-y:auto; scrollbar-width:thin }
#fewsam-classes:has(.class:nth-child(9)) { max-height:180px } /* half of a row shows that there are more */
#fewsam-panel .class { display:flex; align-items:center; gap:5px; height:24px; padding:0 4px; border-radius:4px; cursor:pointer; box-sizing:border-box; position:relative }
#fewsam-panel .class:hover { background:#16224a }
#fewsam-panel .class.on { background:#27397a; outline:1px solid #5a78f0; outline-offset:-1px }
#fewsam-panel .class .name { background:none; border:0; padding:0; text-align:left; color:inherit; flex:1 1 auto; min-width:0; overflow:hidden; text-overflow:ellipsis; white-space:nowrap }
#fewsam-panel .class .count { color:#b9c6ee; font-variant-numeric:tabular-nums; font-size:12px }
#fewsam-panel .class .tools { position:absolute; right:50px; background:#16224a; visibility:hidden; display:flex; gap:2px; padding-left:4px }
#fewsam-panel .class:hover .tools, #fewsam-panel .class:focus-within .tools { visibility:visible }
#fewsam-panel .small { padding:0 4px; font-size:12px; line-height:18px; flex:none }
#fewsam-panel .class .small { border-color:transparent; background:none; padding:2px; line-height:0; color:#a9b8e6 }
#fewsam-panel .class .small:hover { border-color:#4a66bd }
#fewsam-panel .class .small.set { color:#ffe14d }
#fewsam-panel .swatch { width:13px; height:13px; border-radius:3px; flex:none; display:inline-block }
#fewsam-panel input.swatch { appearance:none; border:0; padding:0; background:none; cursor:pointer }
#fewsam-panel input.swatch::-webkit-color-swatch-wrapper { padding:0 }
#fewsam-panel input.swatch::-webkit-color-swatch { border:0; border-radius:3px }
#fewsam-panel input.swatch::-moz-color-swatch { border:0; border-radius:3px }

#fewsam-panel input[type=text] { flex:1; min-width:60px; background:#0d1430; color:#e6ecff; border:1px solid #4a66bd; border-radius:4px; padding:2px 6px; font:inherit }
#fewsam-panel input::placeholder { color:#a9b8e6; opacity:1 }
#fewsam-panel input[type=range] { flex:1; min-width:60px; appearance:auto; accent-color:#9db4ff; background:transparent; border:0; height:18px; margin:0 }
#fewsam-panel progress { width:100%; height:6px; display:block; accent-color:#9db4ff }
#fewsam-panel progress[hidden] { display:block; visibility:hidden }
#fewsam-panel #fewsam-below-progress { flex-wrap:nowrap; margin:1px 0; min-height:22px }
#fewsam-panel #fewsam-below-progress button { flex:none; font-size:12px; padding:0 5px }
#fewsam-status { flex:1; min-width:0; white-space:nowrap; overflow:hidden; text-overflow:ellipsis }
#fewsam-panel summary { cursor:pointer; margin:4px 0 2px; font-size:12px; color:#a9b8e6 }
#fewsam-panel .shot { display:flex; gap:6px; align-items:start; padding:2px 0; font-size:12px }
#fewsam-panel .shot span { flex:1 }
#fewsam-panel svg.curve { width:100%; height:110px; background:#0d1430; border-radius:4px }
#fewsam-panel a.button { flex:1 1 auto; text-align:center; background:#22346b; color:#e6ecff; border:1px solid #4a66bd; border-radius:4px; padding:3px 5px; text-decoration:none; font-size:12px }
#fewsam-panel a.button:hover { background:#31499a }
#fewsam-studies { max-height:max(220px, 40vh); overflow-y:auto }
#fewsam-panel .reading { display:flex; flex-wrap:wrap; gap:4px; align-items:center; padding:2px 0; font-size:12px }
#fewsam-panel .reading > span { flex:1 0 100% }
#fewsam-panel .study { margin:6px 0 }
#fewsam-panel .series { display:flex; gap:6px; width:100%; align-items:center; text-align:left; margin:2px 0; padding:3px 6px }
#fewsam-panel .series.on:disabled { background:#27397a; color:#fff }
#fewsam-panel .series > span:first-child { flex:1; overflow:hidden; text-overflow:ellipsis; white-space:nowrap }
#fewsam-panel .people { flex:none; max-width:40%; font-size:12px; overflow:hidden; text-overflow:ellipsis; white-space:nowrap }
#fewsam-panel .place { flex:none; border-radius:8px; padding:0 7px; font-size:11px; background:#33415f; color:#e6ecff }
#fewsam-panel .place.in-progress { background:#1d4ed8 }
#fewsam-panel .place.unsure { background:#7a5c12 }
#fewsam-panel .place.sent-back { background:#8a2f3f }
#fewsam-panel .place.done, #fewsam-panel .place.accepted { background:#1f6f3d }
#fewsam-legend { list-style:none; margin:4px 0; padding:0; columns:2; font-size:12px }
#fewsam-legend li { padding-left:18px; text-indent:-18px }
#fewsam-legend .swatch { border:1px solid #a9b8e6; vertical-align:-2px }

#fewsam-sheet { position:fixed; inset:auto 20px 20px auto; right:320px; max-width:640px; max-height:80vh; overflow-y:auto; z-index:1000; columns:2;
  background:#0d1430; border:1px solid #5a78f0; border-radius:6px; padding:10px 16px; box-shadow:0 6px 30px #000; scrollbar-width:thin }
#fewsam-sheet section { break-inside:avoid }
#fewsam-sheet dl { margin:0 }
#fewsam-sheet dl > div { display:flex; gap:8px; padding:1px 0 }
#fewsam-sheet dt { flex:0 0 84px; color:#ffe9a8 }
#fewsam-sheet dd { margin:0 }
`;
