export const style = `
#fewsam-panel { color:#e6ecff; font:13px/1.4 system-ui,sans-serif; padding:8px; height:100%; overflow-y:auto; box-sizing:border-box }
#fewsam-panel h4 { margin:10px 0 4px; font-size:11px; letter-spacing:.06em; text-transform:uppercase; color:#8fa3d6 }
#fewsam-panel button { background:#22346b; color:#e6ecff; border:1px solid #3a54a3; border-radius:4px; padding:5px 8px; cursor:pointer; font:inherit }
#fewsam-panel button:hover:not(:disabled) { background:#31499a }
#fewsam-panel button:disabled { opacity:.45; cursor:default }
#fewsam-panel button.on { background:#5a78f0; border-color:#a9bbff }
#fewsam-panel button.main { background:#2c8a4b; border-color:#4fc07a }
#fewsam-panel .fs-row { display:flex; gap:5px; flex-wrap:wrap; margin:4px 0 }
#fewsam-panel .fs-row > button { flex:1 1 auto }
#fewsam-panel .class { display:flex; align-items:center; gap:7px; padding:3px 5px; border-radius:4px; cursor:pointer }
#fewsam-panel .class:hover { background:#16224a }
#fewsam-panel .class.on { background:#27397a; outline:1px solid #5a78f0 }
#fewsam-panel .swatch { width:13px; height:13px; border-radius:3px; flex:none }
#fewsam-panel .count { margin-left:auto; color:#8fa3d6; font-variant-numeric:tabular-nums }
#fewsam-panel { scrollbar-color:#3a54a3 #0d1430; scrollbar-width:thin }
#fewsam-panel .small { padding:0 5px; font-size:12px; flex:none }
#fewsam-panel .class .small { visibility:hidden }
#fewsam-panel .class:hover .small, #fewsam-panel .class .small:focus { visibility:visible }
#fewsam-panel .class .name { background:none; border:0; padding:0; text-align:left; color:inherit; flex:1 1 auto; min-width:0; overflow:hidden; text-overflow:ellipsis; white-space:nowrap }
#fewsam-classes { max-height:192px; overflow-y:auto }
#fewsam-panel #fewsam-message { height:7.6em; box-sizing:border-box; overflow-y:auto; margin-top:0 }
#fewsam-panel .message { margin:6px 0; padding:6px 8px; border-radius:4px; background:#16224a; white-space:pre-wrap; overflow-wrap:anywhere }
#fewsam-panel .message.asks { background:#5a4a1f; color:#fff2d0 }
#fewsam-panel .shot { display:flex; gap:6px; align-items:start; padding:2px 0; font-size:12px }
#fewsam-panel .shot span { flex:1 }
#fewsam-panel summary { cursor:pointer; margin:8px 0 2px; font-size:12px; color:#8fa3d6 }
#fewsam-panel .message.bad { background:#5a1f2a; color:#ffd9d9 }
#fewsam-panel .message.good { background:#1c4a2c; color:#d9ffe4 }
#fewsam-problems:empty { display:none }
#fewsam-panel progress { width:100%; height:10px }
#fewsam-panel input[type=text] { flex:1; min-width:60px; background:#0d1430; color:#e6ecff; border:1px solid #3a54a3; border-radius:4px; padding:4px 6px }
#fewsam-panel input[type=range] { flex:1; appearance:auto; accent-color:#5a78f0; background:transparent; border:0; height:18px }
#fewsam-panel svg.curve { width:100%; height:110px; background:#0d1430; border-radius:4px }
#fewsam-panel a.button { flex:1 1 auto; text-align:center; background:#22346b; color:#e6ecff; border:1px solid #3a54a3; border-radius:4px; padding:4px 6px; text-decoration:none; font-size:12px }
#fewsam-panel a.button:hover { background:#31499a }
#fewsam-studies { max-height:220px; overflow-y:auto }
#fewsam-panel .study { margin:6px 0 }
#fewsam-panel .series { display:flex; gap:6px; width:100%; align-items:center; text-align:left; margin:2px 0; padding:3px 6px }
#fewsam-panel .series.on:disabled { opacity:1 }
#fewsam-panel .series > span:first-child { flex:1; overflow:hidden; text-overflow:ellipsis; white-space:nowrap }
#fewsam-panel .people { flex:none; max-width:40%; font-size:12px; overflow:hidden; text-overflow:ellipsis; white-space:nowrap }
#fewsam-panel .place { flex:none; border-radius:8px; padding:0 7px; font-size:11px; background:#33415f; color:#e6ecff }
#fewsam-panel .place.in-progress { background:#1d4ed8 }
#fewsam-panel .place.unsure { background:#7a5c12 }
#fewsam-panel .place.sent-back { background:#8a2f3f }
#fewsam-panel .place.done, #fewsam-panel .place.accepted { background:#1f6f3d }
#fewsam-panel .faint { color:#8fa3d6; font-size:12px }
`;
