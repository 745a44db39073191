/* fewsam panel, built from sources a516b8ab80cbc41797f7d266aba04a01533e6c9d5cb24f1c30eb1aec1cd266e0 */
(function() {
	// node_modules/preact/dist/preact.mjs
	var n$1;
	var t$2;
	var r$2;
	var u$3;
	var i$2;
	var f$3;
	var o$3;
	var e$2;
	var l$2;
	var c$2;
	var a$3;
	var h$3 = Symbol.for("pv");
	var p$3 = {};
	var y$3 = [];
	var v$2 = /^m(i|n|o|s|text|space)$/;
	var w$3 = Array.isArray;
	var d$2 = y$3.slice;
	var _$1 = Object.assign;
	function g$3(n) {
		n && n.parentNode && n.remove();
	}
	function k$2(n, t, r) {
		var u, i, f, o = {}, e = arguments.length;
		for (f in t) "key" == f ? u = t[f] : "ref" == f && "function" != typeof n ? i = t[f] : o[f] = t[f];
		return e > 2 && (o.children = e > 3 ? d$2.call(arguments, 2) : r), m$3(n, o, u, i, null);
	}
	function m$3(r, u, i, f, o) {
		var e = {
			type: r,
			props: u,
			key: i,
			ref: f,
			__k: null,
			__: null,
			__b: 0,
			__e: null,
			__c: null,
			constructor: h$3,
			__v: o || ++t$2,
			__i: -1,
			__u: 0
		};
		return !o && n$1.vnode && n$1.vnode(e), e;
	}
	function $(n) {
		return n.children;
	}
	function x$1(n, t) {
		this.props = n, this.context = t, this.__g = 0;
	}
	function S$1(n, t) {
		if (null == t) return n.__ && S$1(n.__, n.__i + 1);
		for (var r; t < n.__k.length; t++) if ((r = n.__k[t]) && r.__e) return r.__e;
		return "function" != typeof n.type || n.props.__P ? null : S$1(n);
	}
	function C$1(t) {
		var r, u = t.__v, i = u.__e, f = [], o = [], e = t.__P;
		e && ((r = _$1({ constructor: h$3 }, u)).__v = u.__v + 1, n$1.vnode && n$1.vnode(r), z$1(e, r, u, t.__n, e.namespaceURI, 32 & u.__u ? [i] : null, f, i || S$1(u), 32 & u.__u, o), r.__v = u.__v, r.__.__k[r.__i] = r, E$1(f, r, o), u.__ = u.__e = null, r.__e != i && j$1(r));
	}
	function j$1(n) {
		if ((n = n.__) && n.__c && !n.props.__P) return n.__e = null, n.__k.some(function(t) {
			return t && (n.__e = t.__e);
		}), j$1(n);
	}
	function L(t) {
		(8 & t.__g || (t.__g |= 8, u$3.push(t), f$3++)) && i$2 == n$1.debounceRendering || ((i$2 = n$1.debounceRendering) || queueMicrotask)(H);
	}
	function H() {
		try {
			for (var n, t = 1; u$3.length;) u$3.length > t && u$3.sort(o$3), n = u$3.shift(), t = u$3.length, 8 & n.__g && C$1(n);
		} finally {
			(f$3 = u$3.length) && (i$2 || queueMicrotask)(H);
		}
	}
	function I(n, t, r, u, i, f, o, e, l, c, a) {
		var s, h, v, w, d, _, g = u.__k || y$3, k = t.length;
		for (l = q(r, t, g, l, k), s = 0; s < k; s++) null != (v = r.__k[s]) && (h = ~v.__i && g[v.__i] || p$3, v.__i = s, _ = z$1(n, v, h, i, f, o, e, l, c, a), w = v.__e, (h.ref != v.ref || 8 & h.__u) && (h.ref && G(h.ref, null, v, h), v.ref && a.push(v.ref, v.__c || w, v)), d = d || w, 4 & v.__u ? (l = A$1(v, l, n, !h.__v), h.__e && (h.__e = null)) : "function" == typeof v.type && void 0 !== _ ? l = _ : w && (l = w.nextSibling), v.__u &= -21);
		return r.__e = d, l;
	}
	function q(n, t, r, u, i) {
		var f, o, e, l, c, a, s, p, y, v = r.length, d = v, _ = 0, g = 0, k = n.__k = Array(i);
		for (f = 0; f < i; f++) null != (o = t[f]) && "boolean" != typeof o && "function" != typeof o ? ("object" != typeof o || o.constructor === String ? o = k[f] = m$3(null, o) : w$3(o) ? o = k[f] = m$3($, { children: o }) : o.constructor === h$3 && o.__b ? o = k[f] = m$3(o.type, o.props, o.key, o.ref, o.__v) : k[f] = o, l = f + _, o.__ = n, o.__b = n.__b + 1, e = null, ~(c = o.__i = P(o, r, l, d)) && (d--, (e = r[c]) && (e.__u |= 2)), e && e.__v ? (o.__u |= 16, c == l - 1 ? _-- : c == l + 1 ? _++ : c != l && (c > l ? _-- : _++, g = 1)) : (~c || (i > v ? _-- : i < v && _++), "function" != typeof o.type && (o.__u |= 4))) : k[f] = null;
		if (g) {
			for (a = [], s = [], f = 0; f < i; f++) if ((o = k[f]) && 16 & o.__u) {
				for (_ = 0, p = a.length; _ < p;) a[y = _ + p >> 1] < o.__i ? _ = y + 1 : p = y;
				a[_] = o.__i, s[f] = _ + 1;
			}
			for (_ = a.length; f--;) s[f] && (s[f] == _ ? _-- : k[f].__u |= 4);
		}
		if (d) for (f = 0; f < v; f++) !(e = r[f]) || 2 & e.__u || (e.__e == u && (u = S$1(e)), J(e, e));
		return u;
	}
	function A$1(n, t, r, u) {
		var i, f, o, e;
		if ("function" == typeof n.type) {
			if (n.props.__P) return t;
			if (i = n.__k) for (f = 0; f < i.length; f++) i[f] && (i[f].__ = n, t = A$1(i[f], t, r, !1));
			return t;
		}
		for (t && !t.parentNode && (t = S$1(n)) && !t.parentNode && (t = null), o = n.__e, e = t; e && 8 == e.nodeType;) e = e.nextSibling;
		for (o != e && (!u && r.moveBefore && o.parentNode ? r.moveBefore(o, t) : r.insertBefore(o, t || null)), t = o; (t = t && t.nextSibling) && 8 == t.nodeType && !t.data.startsWith("$s"););
		return t;
	}
	function P(n, t, r, u) {
		var i, f = n.key, o = n.type, e = t[r], l = e && !(2 & e.__u);
		if (null === e && null == f || l && f == e.key && o == e.type) return r;
		if (u > (l ? 1 : 0)) {
			for (i = r - 1; i >= 0; i--) if ((e = t[i]) && !(2 & e.__u) && f == e.key && o == e.type) return i;
			for (i = r + 1; i < t.length; i++) if ((e = t[i]) && !(2 & e.__u) && f == e.key && o == e.type) return i;
		}
		return -1;
	}
	function T(n, t, r) {
		r ??= "", "-" == t[0] ? n.setProperty(t, r) : n[t] = r;
	}
	function N(n, t, r, u, i) {
		var f, o;
		if ("style" == t) if ("string" == typeof r) n.style.cssText = r;
		else {
			if ("string" == typeof u && (n.style.cssText = u = ""), u) for (t in u) r && t in r || T(n.style, t);
			if (r) for (t in r) u && r[t] == u[t] || T(n.style, t, r[t]);
		}
		else if ("o" == t[0] && "n" == t[1]) "function" != typeof r && (r = null), "function" != typeof u && (u = null), (n.__e || (n.__e = {}))[t] = r, r && u || (o = a$3[t] || (a$3[t] = V(t)), (n.__a || (n.__a = {}))[t] = c$2, f = t != (t = t.replace(l$2, "$1")), (t = t.slice(2))[0] < "a" && (t = t.toLowerCase()), r ? n.addEventListener(t, o, f) : n.removeEventListener(t, o, f));
		else {
			if ("http://www.w3.org/2000/svg" == i) t = t.replace(/xlink(H|:h)/, "h").replace(/sName$/, "s");
			else if ("width" != t && "height" != t && "href" != t && "list" != t && "form" != t && "tabIndex" != t && "download" != t && "rowSpan" != t && "colSpan" != t && "role" != t && "popover" != t && t in n) try {
				n[t] = null == r ? "" : r;
				return;
			} catch (n) {}
			if ("function" == typeof r) return;
			null == r || !1 === r && "-" != t[4] ? n.removeAttribute(t) : n.setAttribute(t, "popover" == t && 1 == r ? "" : r);
		}
	}
	function V(t) {
		return function(r) {
			var u = this.__e;
			if (u) {
				if (u = u[t], null == r[e$2]) r[e$2] = c$2++;
				else if (r[e$2] < this.__a[t]) return;
				return u(n$1.event ? n$1.event(r) : r);
			}
		};
	}
	function z$1(t, r, u, i, f, o, e, l, c, a) {
		var s, p, v, d, k, b, m, M, C, j, L, H, q, A, O, P, T, N, V = r.type;
		if (r.constructor !== h$3) return null;
		128 & u.__u && (c = 32 & u.__u, s = u.__c.__z) && (r.__u |= c, p = o = [], 8 == s.nodeType ? l = B$1(s, o) : o.push(s), l = o[0] || l), (s = n$1.__b) && s(r);
		n: if ("function" == typeof V) {
			v = e.length;
			try {
				if (M = r.props, C = (s = V.prototype) && s.render, j = (s = V.contextType) && i[s.__c], L = s ? j ? j.props.value : s.__ : i, (d = u.__c) ? (r.__c = d, 2 & d.__g && (d.__g |= 1)) : (C ? r.__c = d = new V(M, L) : (r.__c = d = new x$1(M, L), d.constructor = V, d.render = K), j && j.sub(d), d.state || (d.state = {}), d.__n = i, d.__g |= 8, d.__h = [], d.__k = []), C && (d.__s || (d.__s = d.state), V.getDerivedStateFromProps && (d.__s == d.state && (d.__s = _$1({}, d.__s)), _$1(d.__s, V.getDerivedStateFromProps(M, d.__s)))), k = d.props, b = d.state, d.__v = r, u.__c) {
					if (M !== k && C && !V.getDerivedStateFromProps && d.componentWillReceiveProps && d.componentWillReceiveProps(M, L), r.__v == u.__v && !(8 & d.__g) || !(4 & d.__g) && d.shouldComponentUpdate && !1 === d.shouldComponentUpdate(M, d.__s, L)) {
						r.__v != u.__v && (d.props = M, d.state = d.__s, d.__g &= -9), r.__e = u.__e, r.__k = u.__k, r.__k.some(function(n) {
							n && (n.__ = r);
						}), y$3.push.apply(d.__h, d.__k), d.__k = [], d.__h.length && e.push(d), l = S$1(u);
						break n;
					}
					d.componentWillUpdate && d.componentWillUpdate(M, d.__s, L), C && d.componentDidUpdate && d.__h.push(function() {
						d.componentDidUpdate(k, b, m);
					});
				} else C && !V.getDerivedStateFromProps && d.componentWillMount && d.componentWillMount(), C && d.componentDidMount && d.__h.push(d.componentDidMount);
				d.context = L, d.props = M, d.__P = t, d.__g &= -5, H = n$1.__r, q = C ? 25 : 0;
				do
					d.__g &= -9, H && H(r), s = d.render(d.props, d.state = d.__s, d.context);
				while (8 & d.__g && ++q < 25);
				C && (y$3.push.apply(d.__h, d.__k), d.__k = []), d.state = d.__s, d.getChildContext && (i = _$1({}, i, d.getChildContext())), C && u.__c && d.getSnapshotBeforeUpdate && (m = d.getSnapshotBeforeUpdate(k, b)), A = s && s.type === $ && null == s.key ? s.props.children : s, M.__P && (s = l, f = (t = M.__P).namespaceURI, c = o = null, u.props && u.props.__P != t && (u.__k.some(function(n) {
					n && J(n, n);
				}), u.__k = null), l = u.__k ? S$1(u, 0) : null), l = I(t, w$3(A) ? A : [A], r, u, i, f, o, e, l, c, a), M.__P && (r.__e = null, l = s), r.__u &= -161, p && p.some(g$3), d.__h.length && e.push(d), 1 & d.__g && (d.__g &= -4);
			} catch (t) {
				if (e.length = v, r.__v = null, c || o) if (t && t.then) {
					if (r.__u |= 128 | c, o) {
						for (~(T = o.indexOf(l || void 0)) || (T = o.length); (N = o[T - 1]) && 8 == N.nodeType;) T--;
						for (; T < o.length; T++) if (N = o[T]) if (o[T] = null, O) {
							if (N == P) break;
						} else {
							if (8 != N.nodeType) break;
							N.data.startsWith("$s") && (P = B$1(O = N));
						}
					}
					if (!O) {
						for (; l && 8 == l.nodeType && l.nextSibling;) l = l.nextSibling;
						O = l;
					}
					(s = B$1(O = r.__c.__z || (r.__c.__z = O))) ? (r.__e = O, l = s) : r.__e = l, l = l && l.nextSibling;
				} else o && o.some(g$3);
				else r.__e = u.__e;
				r.__k || (r.__k = u.__k || []), t && t.then || D$1(r), n$1.__e(t, r, u);
			}
		} else l = r.__e = F$1(u.__e, r, u, i, f, o, e, c, a, t);
		return (s = n$1.diffed) && s(r), l;
	}
	function B$1(n, t) {
		if (n && 8 == n.nodeType && n.data.startsWith("$s")) for (var r = 1; n = n.nextSibling;) {
			if (8 == n.nodeType) {
				if (n.data.startsWith("$s")) r++;
				else if (n.data.startsWith("/$s") && !--r) return n;
			}
			t && t.push(n);
		}
	}
	function D$1(n) {
		n && (n.__c && (n.__c.__g |= 4), n.__k && n.__k.some(D$1));
	}
	function E$1(t, r, u) {
		for (var i = 0; i < u.length;) G(u[i++], u[i++], u[i++]);
		n$1.__c && n$1.__c(r, t), t.some(function(r) {
			try {
				t = r.__h, r.__h = [], t.some(function(n) {
					n.call(r);
				});
			} catch (t) {
				n$1.__e(t, r.__v);
			}
		});
	}
	function F$1(t, r, u, i, f, o, e, l, c, a) {
		var s, h, y, _, k, b, m, M, $ = u.props || p$3, x = r.props, C = r.type;
		if ("svg" == C ? f = "http://www.w3.org/2000/svg" : "math" == C ? f = "http://www.w3.org/1998/Math/MathML" : f || (f = "http://www.w3.org/1999/xhtml"), o) {
			for (s = 0; s < o.length; s++) if ((k = o[s]) && (C ? k.localName == C : 3 == k.nodeType)) {
				t = k, o[s] = null;
				break;
			}
		}
		if (!t) {
			if (M = a.ownerDocument || document, !C) return M.createTextNode(x);
			t = M.createElementNS(f, C, x.is ? x : a), l && (n$1.__m && n$1.__m(r, o), l = !1), o = null;
		}
		if (C) {
			if (a = "template" == C && t.content || t, o = "textarea" == C && null != x.defaultValue ? null : o && d$2.call(a.childNodes), !l && o) for ($ = {}, s = 0; s < t.attributes.length; s++) $[(k = t.attributes[s]).name] = k.value;
			for (s in $) k = $[s], "dangerouslySetInnerHTML" == s ? y = k : "children" == s || s in x || "value" == s && "defaultValue" in x || "checked" == s && "defaultChecked" in x || N(t, s, null, k, f);
			for (s in x) k = x[s], "children" == s ? _ = k : "dangerouslySetInnerHTML" == s ? h = k : "value" == s ? b = k : "checked" == s ? m = k : l && "function" != typeof k || $[s] === k || N(t, s, k, $[s], f);
			h ? (l || y && (h.__html == y.__html || h.__html == t.innerHTML) || (t.innerHTML = h.__html), r.__k = []) : (y && (t.textContent = ""), ("foreignObject" == C || "http://www.w3.org/1998/Math/MathML" == f && v$2.test(C)) && (f = "http://www.w3.org/1999/xhtml"), I(a, w$3(_) ? _ : [_], r, u, i, f, o, e, o ? o[0] : u.__k && S$1(u, 0), l, c), o && o.some(g$3)), l && "textarea" != C || (s = "value", "progress" == C && null == b ? t.removeAttribute(s) : null == b || b === t[s] && ("progress" != C || b) || N(t, s, b, $[s], f), s = "checked", null != m && m != t[s] && N(t, s, m, $[s], f));
		} else $ === x || l && t.data == x || (t.data = x);
		return t;
	}
	function G(t, r, u, i) {
		try {
			"function" == typeof t ? r ? r.__x = t(r) || 1 : i && (i = i.__c || i.__e) && (r = i.__x) && (i.__x = null, "function" == typeof r ? r() : t(null)) : t.current = r;
		} catch (t) {
			n$1.__e(t, u);
		}
	}
	function J(t, r, u) {
		var i, f, o, e;
		if (n$1.unmount && n$1.unmount(t), !(i = t.ref) || i.current && i.current != t.__e || G(i, null, r, t), i = t.__c) {
			if (i.componentWillUnmount) try {
				i.componentWillUnmount();
			} catch (t) {
				n$1.__e(t, r);
			}
			i.__P = i.__n = null;
		}
		if (i = t.__k) for (e = 0; e < i.length; e++) i[e] && J(i[e], r, "function" != typeof t.type || u && !t.props.__P);
		!u && (i = t.__c) && (i = i.__z) && (f = B$1(i, o = [])) && (i == t.__e && o.some(g$3), g$3(f), g$3(i)), u || g$3(t.__e), t.__e = t.__c = t.__ = null;
	}
	function K(n, t, r) {
		return this.constructor(n, r);
	}
	function Q(t, r) {
		var u, i, f, o;
		n$1.__ && n$1.__(t, r), 9 == r.nodeType && (r = r.documentElement), i = (u = t && 32 & t.__u) ? null : r.__k, r.__k = m$3($, { children: [t] }), f = [], o = [], z$1(r, r.__k, i || p$3, p$3, r.namespaceURI, i ? null : r.firstChild ? d$2.call(r.childNodes) : null, f, i ? i.__e : r.firstChild, u, o), E$1(f, r.__k, o), r.__k.props.children = null;
	}
	n$1 = { __e: function(n, t, r, u) {
		for (var i, o, e; t = t.__;) if ((i = t.__c) && !(1 & i.__g)) {
			i.__g |= 4;
			try {
				if ((e = (o = i.constructor) && o.getDerivedStateFromError) && i.setState(o.getDerivedStateFromError(n)), i.componentDidCatch && (i.componentDidCatch(n, u || {}), e = 1), e && 8 & i.__g) return void (i.__g |= 2);
			} catch (t) {
				n = t;
			}
		}
		throw f$3 = 0, n;
	} }, t$2 = 0, r$2 = function(n) {
		return null != n && n.constructor === h$3;
	}, x$1.prototype.setState = function(n, t) {
		var r = this.__s;
		r && r != this.state || (r = this.__s = _$1({}, this.state)), "function" == typeof n && (n = n(_$1({}, r), this.props)), n && (_$1(r, n), this.__v && (t && this.__k.push(t), L(this)));
	}, x$1.prototype.forceUpdate = function(n) {
		this.__v && (this.__g |= 4, n && this.__h.push(n), L(this));
	}, x$1.prototype.render = $, u$3 = [], f$3 = 0, o$3 = function(n, t) {
		return n.__v.__b - t.__v.__b;
	}, e$2 = Symbol(), l$2 = /(PointerCapture)$|Capture$/i, c$2 = 0, a$3 = {};
	// node_modules/preact/hooks/dist/hooks.mjs
	var t$1;
	var r$1;
	var u$2;
	var i$1;
	var o$2 = Object.is;
	var f$2 = 0;
	var c$1 = [];
	var e$1 = [];
	var a$2 = n$1;
	var v$1 = a$2.__b;
	var l$1 = a$2.__r;
	var m$2 = a$2.diffed;
	var h$2 = a$2.__c;
	var s$1 = a$2.unmount;
	var p$2 = a$2.__;
	function y$2(n, t) {
		a$2.__h && a$2.__h(r$1, n, f$2 || t), f$2 = 0;
		var u = r$1.__H || (r$1.__H = {
			__: [],
			__h: []
		});
		return n >= u.__.length && u.__.push({}), u.__[n];
	}
	function w$2(n, r) {
		var u = y$2(t$1++, 7);
		return E(u.__H, r) && (u.__ = n(), u.__H = r), u.__;
	}
	function g$2() {
		var n;
		do {
			for (; n = e$1.shift();) try {
				C(n);
			} catch (t) {
				a$2.__e(t, { __: (n = n.__P) && n.__v });
			}
			for (; n = c$1.shift();) {
				var t = n.__H;
				if (n.__P && t) try {
					t.__h.some(C), t.__h.some(D), t.__h = [];
				} catch (r) {
					t.__h = [], a$2.__e(r, n.__v);
				}
			}
		} while (e$1.length);
	}
	a$2.__b = function(n) {
		r$1 = null, v$1 && v$1(n);
	}, a$2.__ = function(n, t) {
		n && t.__k && t.__k.__m && (n.__m = t.__k.__m), p$2 && p$2(n, t);
	}, a$2.__r = function(n) {
		l$1 && l$1(n), t$1 = 0;
		var i = (r$1 = n.__c).__H;
		i && (u$2 == r$1 ? r$1.__h = [] : (i.__h.some(C), i.__h.some(D), t$1 = 0), i.__h = [], i.__.some(function(n) {
			n.__N && (n.__ = n.__N), n.u = n.__N = void 0;
		})), u$2 = r$1;
	}, a$2.diffed = function(n) {
		m$2 && m$2(n);
		var t = n.__c;
		t && t.__H && (t.__H.__h.length && B(c$1.push(t)), t.__H.__.some(function(n) {
			n.u && (n.__H = n.u);
		})), u$2 = r$1 = null;
	}, a$2.__c = function(n, t) {
		t.some(function(n) {
			try {
				n.__h.some(C), n.__h = n.__h.filter(function(n) {
					return !n.__ || D(n);
				});
			} catch (t) {
				n.__h = [function() {
					throw t;
				}];
			}
		}), h$2 && h$2(n, t);
	}, a$2.unmount = function(n) {
		s$1 && s$1(n);
		var t, r, u = n.__c;
		u && u.__H && (u.__H.__.some(function(u) {
			try {
				if (u.__P && u.__c) {
					if (void 0 === r) {
						for (r = n.__; r && (!r.__c || !r.__c.__P);) r = r.__;
						r = r && r.__c;
					}
					u.__P = r, B(e$1.push(u));
				} else C(u);
			} catch (n) {
				t = n;
			}
		}), u.__H = void 0, t && a$2.__e(t, u.__v));
	};
	var k$1 = "function" == typeof requestAnimationFrame;
	function z(n) {
		var t, r = function() {
			clearTimeout(u), k$1 && cancelAnimationFrame(t), setTimeout(n);
		}, u = setTimeout(r, 35);
		k$1 && (t = requestAnimationFrame(r));
	}
	function B(n) {
		1 != n && i$1 == a$2.requestAnimationFrame || ((i$1 = a$2.requestAnimationFrame) || z)(g$2);
	}
	function C(n) {
		var t = r$1, u = n.__c;
		"function" == typeof u && (n.__c = void 0, u()), r$1 = t;
	}
	function D(n) {
		var t = r$1;
		n.__c = n.__(), r$1 = t;
	}
	function E(n, t) {
		return !n || n.length != t.length || t.some(function(t, r) {
			return !o$2(t, n[r]);
		});
	}
	// node_modules/@preact/signals-core/dist/signals-core.module.js
	var i = Symbol.for("preact-signals");
	function t() {
		if (!(v > 1)) {
			var i, t = !1;
			(function() {
				var i = c;
				c = void 0;
				while (void 0 !== i) {
					var t = i.S;
					if (t.v === i.v) {
						for (var r = t.t; void 0 !== r; r = r.x) if (r.i === i.i) r.i = t.i;
					}
					i = i.o;
				}
			})();
			while (void 0 !== h$1) {
				var r = h$1;
				h$1 = void 0;
				s++;
				while (void 0 !== r) {
					var n = r.u;
					r.u = void 0;
					r.f &= -3;
					if (!(8 & r.f) && w$1(r)) try {
						r.c();
					} catch (r) {
						if (!t) {
							i = r;
							t = !0;
						}
					}
					r = n;
				}
			}
			s = 0;
			v--;
			if (t) throw i;
		} else v--;
	}
	function r(i) {
		if (v > 0) return i();
		u$1 = ++e;
		v++;
		try {
			return i();
		} finally {
			t();
		}
	}
	var n;
	var o$1 = void 0;
	function f$1(i) {
		var t = o$1, r = n;
		o$1 = void 0;
		n = void 0;
		try {
			return i();
		} finally {
			o$1 = t;
			n = r;
		}
	}
	var h$1 = void 0;
	var v = 0;
	var s = 0;
	var e = 0;
	var u$1 = 0;
	var c = void 0;
	var a$1 = 0;
	function d$1(i) {
		if (void 0 !== o$1) {
			var t = i.n;
			if (void 0 === t || t.t !== o$1) {
				t = {
					i: 0,
					S: i,
					p: o$1.s,
					n: void 0,
					t: o$1,
					e: void 0,
					x: void 0,
					r: t
				};
				if (void 0 !== o$1.s) o$1.s.n = t;
				o$1.s = t;
				i.n = t;
				if (32 & o$1.f) i.S(t);
				return t;
			} else if (-1 === t.i) {
				t.i = 0;
				if (void 0 !== t.n) {
					t.n.p = t.p;
					if (void 0 !== t.p) t.p.n = t.n;
					t.p = o$1.s;
					t.n = void 0;
					o$1.s.n = t;
					o$1.s = t;
				}
				return t;
			}
		}
	}
	function l(i, t) {
		this.v = i;
		this.i = 0;
		this.n = void 0;
		this.t = void 0;
		this.l = 0;
		this.W = null == t ? void 0 : t.watched;
		this.Z = null == t ? void 0 : t.unwatched;
		this.name = null == t ? void 0 : t.name;
	}
	l.prototype.brand = i;
	l.prototype.h = function() {
		return !0;
	};
	l.prototype.S = function(i) {
		var t = this, r = this.t;
		if (r !== i && void 0 === i.e) {
			i.x = r;
			this.t = i;
			if (void 0 !== r) r.e = i;
			else f$1(function() {
				var i;
				null == (i = t.W) || i.call(t);
			});
		}
	};
	l.prototype.U = function(i) {
		var t = this;
		if (void 0 !== this.t) {
			var r = i.e, n = i.x;
			if (void 0 !== r) {
				r.x = n;
				i.e = void 0;
			}
			if (void 0 !== n) {
				n.e = r;
				i.x = void 0;
			}
			if (i === this.t) {
				this.t = n;
				if (void 0 === n) f$1(function() {
					var i;
					null == (i = t.Z) || i.call(t);
				});
			}
		}
	};
	l.prototype.subscribe = function(i) {
		var t = this;
		return x(function() {
			var r = t.value;
			f$1(function() {
				return i(r);
			});
		}, { name: "sub" });
	};
	l.prototype.valueOf = function() {
		return this.value;
	};
	l.prototype.toString = function() {
		return this.value + "";
	};
	l.prototype.toJSON = function() {
		return this.value;
	};
	l.prototype.peek = function() {
		var i = this;
		return f$1(function() {
			return i.value;
		});
	};
	Object.defineProperty(l.prototype, "value", {
		get: function() {
			var i = d$1(this);
			if (void 0 !== i) i.i = this.i;
			return this.v;
		},
		set: function(i) {
			if (i !== this.v) {
				if (s > 100) throw new Error("Cycle detected");
				(function(i) {
					if (0 !== v && 0 === s) {
						if (i.l !== u$1) {
							i.l = u$1;
							c = {
								S: i,
								v: i.v,
								i: i.i,
								o: c
							};
						}
					}
				})(this);
				this.v = i;
				this.i++;
				a$1++;
				v++;
				try {
					for (var r = this.t; void 0 !== r; r = r.x) r.t.N();
				} finally {
					t();
				}
			}
		}
	});
	function y$1(i, t) {
		return new l(i, t);
	}
	function w$1(i) {
		for (var t = i.s; void 0 !== t; t = t.n) if (t.S.i !== t.i || !t.S.h() || t.S.i !== t.i) return !0;
		return !1;
	}
	function b$1(i) {
		for (var t = i.s; void 0 !== t; t = t.n) {
			var r = t.S.n;
			if (void 0 !== r) t.r = r;
			t.S.n = t;
			t.i = -1;
			if (void 0 === t.n) {
				i.s = t;
				break;
			}
		}
	}
	function _(i) {
		var t = i.s, r = void 0;
		while (void 0 !== t) {
			var n = t.p;
			if (-1 === t.i) {
				t.S.U(t);
				if (void 0 !== n) n.n = t.n;
				if (void 0 !== t.n) t.n.p = n;
			} else r = t;
			t.S.n = t.r;
			if (void 0 !== t.r) t.r = void 0;
			t = n;
		}
		i.s = r;
	}
	function j(i, t) {
		l.call(this, void 0, t);
		this.x = i;
		this.s = void 0;
		this.g = a$1 - 1;
		this.f = 4;
	}
	j.prototype = new l();
	j.prototype.h = function() {
		this.f &= -3;
		if (1 & this.f) return !1;
		if (32 == (36 & this.f)) return !0;
		this.f &= -5;
		if (this.g === a$1) return !0;
		this.g = a$1;
		this.f |= 1;
		if (this.i > 0 && !w$1(this)) {
			this.f &= -2;
			return !0;
		}
		var i = o$1;
		try {
			b$1(this);
			o$1 = this;
			var t = this.x();
			if (16 & this.f || this.v !== t || 0 === this.i) {
				this.v = t;
				this.f &= -17;
				this.i++;
			}
		} catch (i) {
			this.v = i;
			this.f |= 16;
			this.i++;
		}
		o$1 = i;
		_(this);
		this.f &= -2;
		return !0;
	};
	j.prototype.S = function(i) {
		if (void 0 === this.t) {
			this.f |= 36;
			for (var t = this.s; void 0 !== t; t = t.n) t.S.S(t);
		}
		l.prototype.S.call(this, i);
	};
	j.prototype.U = function(i) {
		if (void 0 !== this.t) {
			l.prototype.U.call(this, i);
			if (void 0 === this.t) {
				this.f &= -33;
				for (var t = this.s; void 0 !== t; t = t.n) t.S.U(t);
			}
		}
	};
	j.prototype.N = function() {
		if (!(2 & this.f)) {
			this.f |= 6;
			for (var i = this.t; void 0 !== i; i = i.x) i.t.N();
		}
	};
	Object.defineProperty(j.prototype, "value", { get: function() {
		if (1 & this.f) throw new Error("Cycle detected");
		var i = d$1(this);
		this.h();
		if (void 0 !== i) i.i = this.i;
		if (16 & this.f) throw this.v;
		return this.v;
	} });
	function O(i, t) {
		return new j(i, t);
	}
	function p$1(i) {
		var r = i.j;
		i.j = void 0;
		if ("function" == typeof r) {
			v++;
			var n = o$1;
			o$1 = void 0;
			try {
				r();
			} catch (t) {
				i.f &= -2;
				i.f |= 8;
				g$1(i);
				throw t;
			} finally {
				o$1 = n;
				t();
			}
		}
	}
	function g$1(i) {
		for (var t = i.s; void 0 !== t; t = t.n) t.S.U(t);
		i.x = void 0;
		i.s = void 0;
		p$1(i);
	}
	function S(i) {
		if (o$1 !== this) throw new Error("Out-of-order effect");
		_(this);
		o$1 = i;
		this.f &= -2;
		try {
			if (8 & this.f) g$1(this);
		} finally {
			t();
		}
	}
	function m$1(i, t) {
		this.x = i;
		this.j = void 0;
		this.s = void 0;
		this.u = void 0;
		this.f = 32;
		this.name = null == t ? void 0 : t.name;
		if (n) n.push(this);
	}
	m$1.prototype.c = function() {
		var i = this.S();
		try {
			if (8 & this.f) return;
			if (void 0 === this.x) return;
			var t = this.x();
			if ("function" == typeof t) this.j = t;
		} finally {
			i();
		}
	};
	m$1.prototype.S = function() {
		if (1 & this.f) throw new Error("Cycle detected");
		this.f |= 1;
		this.f &= -9;
		p$1(this);
		b$1(this);
		v++;
		var i = o$1;
		o$1 = this;
		return S.bind(this, i);
	};
	m$1.prototype.N = function() {
		if (!(2 & this.f)) {
			this.f |= 2;
			this.u = h$1;
			h$1 = this;
		}
	};
	m$1.prototype.d = function() {
		this.f |= 8;
		if (!(1 & this.f)) g$1(this);
	};
	m$1.prototype.dispose = function() {
		this.d();
	};
	function x(i, t) {
		var r = new m$1(i, t);
		try {
			r.c();
		} catch (i) {
			r.d();
			throw i;
		}
		var n = r.d.bind(r);
		n[Symbol.dispose] = n;
		return n;
	}
	// node_modules/@preact/signals/dist/signals.module.js
	var h;
	var p;
	var m = "undefined" != typeof window && !!window.__PREACT_SIGNALS_DEVTOOLS__;
	var g = [];
	x(function() {
		h = this.N;
	})();
	function b(i, n) {
		n$1[i] = n.bind(null, n$1[i] || function() {});
	}
	function y(i) {
		if (p) {
			var n = p;
			p = void 0;
			n();
		}
		p = i && i.S();
	}
	function w(i) {
		var n = this, r = i.data, t = useSignal(r);
		t.name = "ReactiveDom";
		t.value = r;
		var e = w$2(function() {
			var i = n, r = n.__v;
			while (r = r.__) if (r.__c) {
				r.__c.__$f |= 4;
				break;
			}
			var o = O(function() {
				var i = t.value.value;
				return 0 === i ? 0 : !0 === i ? "" : i || "";
			}), e = O(function() {
				return !Array.isArray(o.value) && !r$2(o.value);
			}), u = x(function() {
				this.N = M;
				if (e.value) {
					var n = o.value;
					if (i.__v && i.__v.__e && 3 === i.__v.__e.nodeType) i.__v.__e.data = n;
				}
			}), c = n.__$u.d;
			n.__$u.d = function() {
				u();
				c.call(this);
			};
			return [e, o];
		}, []), u = e[0], c = e[1];
		return u.value ? c.peek() : c.value;
	}
	w.displayName = "ReactiveTextNode";
	Object.defineProperties(l.prototype, {
		constructor: {
			configurable: !0,
			value: k$2($, null).constructor
		},
		type: {
			configurable: !0,
			value: w
		},
		props: {
			configurable: !0,
			get: function() {
				var i = this;
				return { data: { get value() {
					return i.value;
				} } };
			}
		},
		__b: {
			configurable: !0,
			value: 1
		}
	});
	b("__b", function(i, n) {
		y();
		if ("string" == typeof n.type) {
			var r, t = n.props;
			for (var f in t) if ("children" !== f) {
				var o = t[f];
				if (o instanceof l) {
					if (!r) n.__np = r = {};
					r[f] = o;
					t[f] = o.peek();
				}
			}
		}
		i(n);
	});
	b("__r", function(i, r) {
		i(r);
		if (r.type !== $) {
			y();
			var t, f = r.__c;
			if (f) {
				f.__$f &= -2;
				if (void 0 === (t = f.__$u)) f.__$u = t = function(i, n) {
					var r;
					x(function() {
						r = this;
					}, { name: n });
					r.c = i;
					return r;
				}(function(i) {
					return function() {
						var n;
						if (m) null == (n = this.y) || n.call(this);
						i.__$f |= 1;
						i.setState({});
					};
				}(f), "function" == typeof r.type ? r.type.displayName || r.type.name : "");
			}
			y(t);
		}
	});
	b("__e", function(i, n, r, t) {
		y();
		i(n, r, t);
	});
	b("diffed", function(i, n) {
		y();
		var r;
		if ("string" == typeof n.type && (r = n.__e)) {
			var t = n.__np, f = n.props, o = r.U;
			if (o) for (var e in o) {
				var u = o[e];
				if (!(void 0 === u || t && e in t)) {
					u.d();
					o[e] = void 0;
				}
			}
			if (t) {
				if (!o) {
					o = {};
					r.U = o;
				}
				for (var a in t) {
					var c = o[a], v = t[a];
					if (void 0 === c) {
						c = k(r, a, v, f);
						o[a] = c;
					} else c.o(v, f);
				}
			}
		}
		i(n);
	});
	function k(i, n, r, t) {
		var f = n in i && void 0 === i.ownerSVGElement, o = y$1(r);
		return {
			o: function(i, n) {
				o.value = i;
				t = n;
			},
			d: x(function() {
				this.N = M;
				var r = o.value.value;
				if (t[n] !== r) {
					t[n] = r;
					if (f) i[n] = r;
					else if (null != r && (!1 !== r || "-" === n[4])) i.setAttribute(n, r);
					else i.removeAttribute(n);
				}
			})
		};
	}
	b("unmount", function(i, n) {
		if ("string" == typeof n.type) {
			var r = n.__e;
			if (r) {
				var t = r.U;
				if (t) {
					r.U = void 0;
					for (var f in t) {
						var o = t[f];
						if (o) o.d();
					}
				}
			}
			var e = n.__np;
			if (e) {
				var u = n.props;
				for (var a in e) u[a] = e[a];
			}
			n.__np = void 0;
		} else {
			var c = n.__c;
			if (c) {
				c.__$f |= 8;
				var v = c.__$u;
				if (v) {
					c.__$u = void 0;
					v.d();
				}
			}
		}
		i(n);
	});
	b("__h", function(i, n, r, t) {
		if (t < 3) n.__$f |= 2;
		i(n, r, t);
	});
	x$1.prototype.shouldComponentUpdate = function(i, n) {
		if (this.__R) return !0;
		var r = this.__$u, t = r && void 0 !== r.s;
		for (var f in n) return !0;
		if (this.__f || "boolean" == typeof this.u && !0 === this.u) {
			var o = 2 & this.__$f;
			if (!(t || o || 4 & this.__$f)) return !0;
			if (1 & this.__$f) return !0;
		} else {
			if (!(t || 4 & this.__$f)) return !0;
			if (3 & this.__$f) return !0;
		}
		for (var e in i) if ("__source" !== e && i[e] !== this.props[e]) return !0;
		for (var u in this.props) if (!(u in i)) return !0;
		return !1;
	};
	function useSignal(i, n) {
		return w$2(function() {
			return y$1(i, n);
		}, []);
	}
	var A = function(i) {
		queueMicrotask(function() {
			queueMicrotask(i);
		});
	};
	function F() {
		r(function() {
			var i;
			while (i = g.shift()) h.call(i);
		});
	}
	function M() {
		if (1 === g.push(this)) (n$1.requestAnimationFrame || A)(F);
	}
	// src/lab.ts
	/** What the panel knows of people and of the worklist: read by its components, changed by its acts. No DOM, no viewer. */
	var NAME$1 = "fewsam.name";
	/** A person's name, kept in the browser: asked once. */
	function storedName() {
		return typeof localStorage === "undefined" ? "" : localStorage.getItem(NAME$1) ?? "";
	}
	var Lab = class {
		name = y$1(storedName());
		/** A name, or a note for a series that is sent back, as it is typed. */
		typed = y$1("");
		note = y$1("");
		/** Whether the person is about to say another name. */
		naming = y$1(false);
		unfolded = y$1(false);
		worklist = y$1(null);
		/** Slices of the open series that two people labelled. */
		readings = y$1([]);
		/** Take a name and keep it in the browser; false where it is forgotten when the page is closed. */
		keepName(name) {
			this.name.value = name.trim().slice(0, 80);
			try {
				localStorage.setItem(NAME$1, this.name.value);
			} catch {
				return false;
			}
			return true;
		}
		/** The series that is open, with its place in the worklist. */
		of = (image) => this.worklist.value?.studies.flatMap((study) => study.series).find((one) => one.image === image) ?? null;
		/** "2 of 9 series done". */
		summary = O(() => {
			const counts = this.worklist.value?.counts;
			if (!counts) return "";
			const all = Object.values(counts).reduce((sum, n) => sum + n, 0);
			return `${counts.done + counts.accepted} of ${all} series done`;
		});
	};
	/** Whether the name is to be asked for: the server does not know it, and the browser has none. */
	function asksName(state, name) {
		return state?.ask_name === true && !name;
	}
	// src/api.ts
	/** Calls to the server. Every refusal becomes an Error whose message a person can read. */
	/** What the server says no to, with all that it says. */
	var Refusal = class extends Error {
		status;
		body;
		constructor(message, status, body) {
			super(message);
			this.status = status;
			this.body = body;
		}
	};
	var base = ((typeof document === "undefined" ? null : document.currentScript)?.src ?? globalThis.location?.href ?? "").replace(/\/ohif\/.*$/, "");
	var client = (() => {
		if (typeof sessionStorage === "undefined") return "";
		const made = `ohif-${Math.random().toString(36).slice(2, 10)}`;
		try {
			const id = sessionStorage.getItem("fewsam.client") ?? made;
			sessionStorage.setItem("fewsam.client", id);
			return id;
		} catch {
			return made;
		}
	})();
	/** A request with the name of who makes it, where the browser knows one. */
	function signed(init = {}) {
		const name = storedName();
		return name ? {
			...init,
			headers: {
				...init.headers,
				"x-annotator": encodeURIComponent(name)
			}
		} : init;
	}
	var [SHORT$1, LONG] = [3e4, 6e5];
	/** Ask, and ``read`` the answer, all of which has to be there after ``wait``. */
	async function ask(path, read, init, wait = init ? LONG : SHORT$1) {
		let answer;
		try {
			answer = await fetch(base + path, {
				...signed(init),
				signal: AbortSignal.timeout(wait)
			});
			if (answer.ok) return await read(answer);
		} catch {
			throw new Error("The server does not answer. What you drew stays here; try again when it is back.");
		}
		const body = await answer.json().catch(() => ({ detail: `the server answered ${answer.status}` }));
		throw new Refusal(typeof body.detail === "string" ? body.detail : JSON.stringify(body.detail ?? body), answer.status, body);
	}
	var told = (path, init, wait) => ask(path, (answer) => answer.json(), init, wait);
	var done$1 = (path, init) => ask(path, async () => {}, init);
	async function framed(path, init, wait) {
		const bytes = new Uint8Array(await ask(path, (answer) => answer.arrayBuffer(), init, wait));
		const length = new DataView(bytes.buffer).getUint32(0, true);
		return {
			head: JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))),
			voxels: bytes.subarray(4 + length)
		};
	}
	var json = (body) => ({
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify(body)
	});
	/** ``slice``: the one on the screen, which the server encodes before the others; without it, the series is being opened. */
	var getState = async (image, slice) => {
		const about = {
			...image && { image },
			...image && slice !== void 0 && { slice: String(slice) }
		};
		return told(`/fewsam/state?${new URLSearchParams(about)}`, void 0, image && slice === void 0 ? LONG : SHORT$1);
	};
	/** Of a series that may have to be opened first. */
	var getLabelmap = (image) => framed(`/fewsam/labelmap?image=${encodeURIComponent(image)}`, void 0, LONG);
	/** ``head.unencoded`` names the slices that the encoder has not been over yet: their answer will be better. */
	var segment = (image, slice) => framed(`/fewsam/segment?${new URLSearchParams({
		image,
		slice: String(slice)
	})}`, { method: "POST" });
	var correct = (body) => framed("/fewsam/clicks", json(body));
	/** What all prompts of a structure change; ``head.slices`` names the slices of the planes. */
	var prompts = (body) => framed("/fewsam/prompts", json(body));
	var next = (asked) => told("/fewsam/next", json({
		client_id: client,
		...asked
	}));
	var train = () => done$1("/train/segmentation", json({}));
	/** Have the served model learn from images that nobody labelled too; it takes minutes. */
	var improve = () => done$1("/train/segmentation", json({ unlabelled: true }));
	var stopTraining = () => done$1("/train/", { method: "DELETE" });
	var addStructure = (name) => told("/fewsam/structures", json({ name }));
	var renameStructure = (id, name) => told("/fewsam/structures/rename", json({
		id,
		name
	}));
	var deleteStructure = (id) => told("/fewsam/structures/delete", json({ id }));
	async function submit(image, { voxels, content_hash, label_info, drawn, ...said }, agreed) {
		const form = new FormData();
		const empty = [...said.empty, ...agreed.empty];
		const { asked, both } = agreed;
		const slices = Object.keys(asked).map(Number);
		const [replace, beside] = both ? [[], slices] : [slices, []];
		const about = {
			content_hash,
			label_info,
			client_id: client,
			drawn,
			replace,
			beside,
			asked,
			empty,
			silent: said.silent
		};
		form.append("params", JSON.stringify(about));
		form.append("label", new Blob([voxels]), "label.bin");
		return told(`/fewsam/label?image=${encodeURIComponent(image)}`, {
			method: "PUT",
			body: form
		});
	}
	var history = (image, slice) => told(`/fewsam/history?${new URLSearchParams({
		image,
		slice: String(slice)
	})}`);
	/** One slice as it was labelled once. */
	var shot = (image, number) => framed(`/fewsam/shot?${new URLSearchParams({
		image,
		shot: String(number)
	})}`);
	/** Take back what was said of a slice; its label stays in the history. */
	var unlabel = (image, slice, seen) => done$1("/fewsam/unlabel", json({
		image,
		slice,
		seen,
		client_id: client
	}));
	var worklist = () => told("/fewsam/worklist");
	var mark = (said) => done$1("/fewsam/worklist/mark", json({
		...said,
		client_id: client
	}));
	var review = (said) => done$1("/fewsam/worklist/review", json({
		...said,
		client_id: client
	}));
	/** Labels that are kept beside the ones in force, by slice. */
	var readings = (image) => told(`/fewsam/readings?${new URLSearchParams({ image })}`);
	/** One slice as a second reader labelled it. */
	var reading = (image, number) => framed(`/fewsam/reading?${new URLSearchParams({
		image,
		reading: String(number)
	})}`);
	/** Put a reading in force; ``seen``: the submission in force that the reviewer saw. */
	var adopt = (image, number, seen) => done$1("/fewsam/reading/adopt", json({
		image,
		reading: number,
		seen,
		client_id: client
	}));
	var resultAddress = (image, format) => `${base}/fewsam/result?${new URLSearchParams({
		image,
		format
	})}`;
	var tableAddress = () => `${base}/fewsam/volumes.csv`;
	/** Outside of the panel: its tab, and the cursor over the image while a tool of ours is in hand. */
	var outside = `
[data-cy="fewsam-btn"] svg { background:url("data:image/svg+xml,${encodeURIComponent("<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 22 22' fill='none' stroke='#5acce6' stroke-width='1.4' stroke-linejoin='round'><path d='M3 7l8-4 8 4-8 4z'/><path d='M3 11l8-4 8 4-8 4z' fill='#5acce6'/><path d='M3 15l8-4 8 4-8 4z'/></svg>")}") center/20px no-repeat }
[data-cy="fewsam-btn"] svg > * { display:none }
.fewsam-hand, .fewsam-hand * { cursor:crosshair !important }
ol[data-sonner-toaster] { left:16px !important; right:auto !important; width:446px !important } /* its notices lay over the panel */
`;
	var style = `
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
	// src/viewer/ohif.ts
	var host = {
		services: null,
		commands: null,
		extensions: null
	};
	var cornerstone = () => window.cornerstone;
	var tools = () => window.cornerstoneTools;
	var dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
	/** Whether the viewer has something that shows objects of a kind as an image. */
	function shows(sopClass) {
		const handlers = (host.extensions?.getActiveDataSource ? host.extensions.modules?.sopClassHandlerModule ?? [] : []).flatMap(({ module }) => module ?? []).filter((one) => /stack/i.test(one?.name ?? ""));
		return !handlers.length || handlers.some((one) => one.sopClassUids?.includes(sopClass));
	}
	/** Cornerstone's viewport, once it shows something. */
	function viewportOf(viewportId) {
		try {
			return host.services.cornerstoneViewportService.getCornerstoneViewport(viewportId) ?? null;
		} catch {
			return null;
		}
	}
	/** Bring our panel to the front: 3.12 shows its own as soon as there is a segmentation. Not once a person chose another one. */
	function showPanel(id) {
		const bring = () => host.services.panelService?.activatePanel?.(id, true);
		const timers = [
			0,
			500,
			1500
		].map((later) => window.setTimeout(bring, later));
		const chosen = ({ target }) => {
			if (target?.closest?.("[data-cy$=\"-btn\"]")) timers.forEach((timer) => window.clearTimeout(timer));
		};
		window.addEventListener("pointerdown", chosen, true);
		window.setTimeout(() => window.removeEventListener("pointerdown", chosen, true), 2e3);
	}
	function useTool(viewportId, toolName) {
		const group = host.services.toolGroupService.getToolGroupForViewport(viewportId);
		if (group) host.commands.run("setToolActiveToolbar", {
			toolName,
			toolGroupIds: [group.id]
		});
	}
	function brushSize(radius) {
		host.commands.run("setBrushSize", {
			value: radius,
			toolNames: [
				"CircularBrush",
				"CircularEraser",
				"ThresholdCircularBrushDynamic"
			]
		});
	}
	function planeOf(imageId) {
		const plane = cornerstone().metaData.get("imagePlaneModule", imageId) ?? {};
		const vector = (v, otherwise) => v ? Array.from(v, Number) : otherwise;
		const row = vector(plane.rowCosines, [
			1,
			0,
			0
		]);
		const column = vector(plane.columnCosines, [
			0,
			1,
			0
		]);
		const normal = [
			row[1] * column[2] - row[2] * column[1],
			row[2] * column[0] - row[0] * column[2],
			row[0] * column[1] - row[1] * column[0]
		];
		return {
			position: vector(plane.imagePositionPatient, [
				0,
				0,
				0
			]),
			row,
			column,
			normal,
			spacing: [Number(plane.columnPixelSpacing ?? 1), Number(plane.rowPixelSpacing ?? 1)],
			columns: plane.columns,
			rows: plane.rows
		};
	}
	// src/viewer/export.ts
	/** OHIF's own export of DICOM SEG, mended where the viewer's is broken.
	*
	* 3.10 names no place to store the object, so that storing fails in silence; and it pairs each slice with the position
	* of its mirror image along the series, because it sorts the positions from the last slice to the first and leaves the
	* voxels in the order of the viewer. Newer viewers keep both from last to first.
	*/
	function mendExport() {
		for (const context of Object.values(host.commands.contexts ?? {})) for (const name of ["storeSegmentation", "downloadSegmentation"]) {
			const command = context?.[name];
			if (!command || command.mended) continue;
			const stock = command.commandFn;
			command.mended = true;
			command.commandFn = (options) => {
				const dataSource = options.dataSource ?? host.extensions.getActiveDataSource()[0];
				if (lastToFirst(options.segmentationId)) return stock({
					...options,
					dataSource
				});
				if (name === "storeSegmentation") return store(options.segmentationId, dataSource);
				return ordered(options.segmentationId, () => stock(options));
			};
		}
	}
	async function store(segmentationId, dataSource) {
		const say = (type, message) => host.services.uiNotificationService?.show({
			title: "Export DICOM SEG",
			message,
			type
		});
		try {
			const options = { SeriesDescription: "OHIF export" };
			const made = ordered(segmentationId, () => host.commands.runCommand("generateSegmentation", {
				segmentationId,
				options
			}));
			await dataSource.store.dicom(made.dataset);
			say("success", "Stored in the PACS.");
		} catch (error) {
			say("error", `Not stored: ${error.message}`);
		}
	}
	function labelmapOf(segmentationId) {
		return tools().segmentation.state.getSegmentation(segmentationId).representationData.Labelmap;
	}
	/** Place of a labelmap's slice along the normal of the series. */
	function place(imageId) {
		const { position, normal } = planeOf(cornerstone().cache.getImage(imageId).referencedImageId ?? imageId);
		return dot(position, normal);
	}
	function lastToFirst(segmentationId) {
		const places = labelmapOf(segmentationId).imageIds.map(place);
		return places.every((value, n) => n === 0 || places[n - 1] >= value);
	}
	/** Do something while the slices are in the order that the export takes them to have. */
	function ordered(segmentationId, work) {
		const labelmap = labelmapOf(segmentationId);
		const imageIds = labelmap.imageIds;
		labelmap.imageIds = [...imageIds].sort((a, b) => place(b) - place(a));
		try {
			return work();
		} finally {
			labelmap.imageIds = imageIds;
		}
	}
	// src/model/texts.ts
	function count(n, what) {
		return `${n} ${what}${n === 1 ? "" : "s"}`;
	}
	var ASIDE = {
		stored: "This is a segmentation as it is stored; nothing can be drawn on it here. Yours is kept.",
		layout: "No slices are shown in this layout, so nothing can be drawn. What you drew is kept."
	};
	/** Why a tool cannot be taken, and a slice not be judged, meanwhile. */
	var BLOCKED = {
		stored: "A stored segmentation is shown: go back to drawing first.",
		layout: "No slices are shown in this layout: go back to drawing first."
	};
	var PLANES = "Nothing is drawn here: this view cuts through the slices. A label belongs to a whole slice: draw in the viewport that shows the slices as they were acquired.";
	/** The number of slice k that the viewer shows in its corner ("I: 10"). */
	var numbering = { of: (k) => k + 1 };
	/** Slices as the viewer counts them: "slice 9", "slices 3, 9 and 2 more". */
	function slicesOf(ks) {
		const shown = ks.map((k) => numbering.of(k)).sort((a, b) => a - b).slice(0, 6).join(", ");
		const more = ks.length > 6 ? ` and ${ks.length - 6} more` : "";
		return `slice${ks.length === 1 ? "" : "s"} ${shown}${more}`;
	}
	function capital(text) {
		return text.charAt(0).toUpperCase() + text.slice(1);
	}
	var SHORT = 84;
	/** A text in short, and the rest of it: cut at its first line, or at the last sentence that three lines hold. */
	function inShort(text) {
		const [line, ...rest] = text.split("\n");
		if (line.length <= SHORT) return [line, rest.join("\n")];
		const end = [...line.matchAll(/[.?] /g)].map((found) => found.index + 1).filter((end) => end <= SHORT).at(-1) ?? line.lastIndexOf(" ", SHORT);
		return [line.slice(0, end), [line.slice(end).trim(), ...rest].join("\n")];
	}
	function greeting(known, drafts, state) {
		const parts = [];
		const elsewhere = state.structures.some((one) => one.slices);
		if (known.drawn.length) parts.push(`${count(known.drawn.length, "slice")} of this series labelled.`);
		else if (!elsewhere) parts.push("Draw a structure on two or three slices, then Submit.");
		else if (!known.served) parts.push("Segment this series with what was learnt from the other ones, or draw on it.");
		if (known.served) parts.push("The last segmentation is shown.");
		if (drafts.back) parts.push(`${count(drafts.back, "slice")} drawn and not submitted: put back.`);
		if (drafts.misfits) {
			const are = drafts.misfits === 1 ? "is" : "are";
			parts.push(`${count(drafts.misfits, "slice")} that you drew before the series had other slices ${are} not put back; this browser keeps them.`);
		}
		if (known.overlaps?.length) parts.push(`Structures overlap on ${slicesOf(known.overlaps)}: the viewer shows the later one of the list there, and what you leave as it is keeps both.`);
		if (state.encoder.trained === false) parts.push("The encoder is untrained: results rest on your labels alone.");
		return parts.join(" ");
	}
	function receipt(answer) {
		const changed = answer.added.length + answer.superseded.length + answer.cleared.length;
		const parts = [];
		if (changed) parts.push(`${count(changed, "slice")} submitted.`);
		else if (!answer.beside?.length) parts.push("Nothing new in this label: no slice changed.");
		if (answer.replaced.length) parts.push(`Yours is now the label of ${slicesOf(answer.replaced)}; the other one stays in the history.`);
		if (answer.beside?.length) parts.push(`Yours is kept beside the label of ${slicesOf(answer.beside)}, which stays in force.`);
		if (answer.kept.length) parts.push(`${capital(slicesOf(answer.kept))} stays as it was submitted: yours was an older copy.`);
		if (answer.untouched.length) parts.push(`On ${count(answer.untouched.length, "slice")} the model's answer stays, and it does not learn from it.`);
		if (answer.overlaps.length) parts.push(`Structures that overlap on ${slicesOf(answer.overlaps)} were kept.`);
		if (answer.waiting_for_pacs) {
			const why = answer.pacs_reason ? ` (${answer.pacs_reason})` : "";
			parts.push(`The PACS is away or has not taken the label${why}: it is kept here and stored there as soon as the PACS takes it.`);
		}
		return parts.join(" ");
	}
	/** What stands below the curve: what waits for the PACS, what could not be taken, what others drew. */
	function problems(state, foreign, unkept) {
		const found = (state?.problems ?? []).map((one) => `${one.file}: ${one.problem}`);
		found.push(...state?.image?.notes ?? []);
		if (state?.pacs?.problem) found.unshift(state.pacs.problem);
		if (state?.pacs?.waiting) found.unshift(`${count(state.pacs.waiting, "label")} kept here until the PACS takes them.`);
		if (foreign.length) found.unshift(`${capital(slicesOf(foreign))}: submitted from elsewhere since you drew on it. Nothing is overwritten unasked.`);
		if (unkept) found.unshift("The browser's store is full: what you draw would not survive a reload. Submit it.");
		return found;
	}
	var opening = "Another series is on the screen, and is being opened: nothing was done. Try again in a moment.";
	var left$1 = "You left the series meanwhile: what you asked for there was not done.";
	var unkept = "The browser's store is full, and leaving this page would lose what you drew. Submit it first, also on series that you left.";
	/** The server has a question about a submission, and nobody is there any more to answer it; ``kept``: by the browser. */
	function untaken(kept) {
		return `You left the series while it was submitted, and the server has a question about it first: nothing was taken. ${kept ? "What you drew there is kept in this browser: open the series again and submit it." : "The browser's store is full: what you drew there since it last had room may be lost."}`;
	}
	/** Why the server asks before it takes a submission. */
	function conflict(slices, who) {
		return `${capital(slicesOf(slices))}: submitted from elsewhere${who ? ` by ${who}` : ""} since you drew on it. Nothing of yours was sent, and it stays here. 'Submit mine' makes yours the label (the other one stays in the history); 'Take theirs' shows the other one; 'Keep both' keeps yours beside it.`;
	}
	function emptied(slices) {
		return `${capital(slicesOf(slices))} had a label and ${slices.length === 1 ? "is" : "are"} empty now. Say that nothing is there?`;
	}
	/** What Segment answered with; ``dirty`` slices were drawn and left as they are. */
	function answer(head, dirty) {
		const kept = dirty ? ` ${count(dirty, "slice")} drawn and not submitted: left as drawn.` : "";
		return `${head.trained ? `Model ${head.model_version}` : "Untrained answer"}, from ${count(head.shots, "labelled slice")}.${waiting(head)}${kept}\n${(head.notes ?? []).join("\n")}`.trim();
	}
	/** That an answer is not the last one yet; '' where all slices are encoded. */
	function waiting(head) {
		const left = head.unencoded?.length ?? 0;
		return left ? ` ${count(left, "slice")} improve${left === 1 ? "s once it is" : " once they are"} encoded.` : "";
	}
	var encoded = "All slices of this series are encoded now. Segment again for a better answer; what you drew stays.";
	var improving = "The model now learns from the images that nobody labelled. It takes several minutes, stops when somebody asks for something, and changes nothing unless it helps on labelled slices held back.";
	/** What came of a training that began when model ``from`` was served. */
	function trained({ training, model_version, trained }, from) {
		const notes = (training.notes ?? []).map((note) => `\n${note}`).join("");
		if (training.state === "stopped") return {
			text: `${training.kind === "unlabelled" ? "Learning from unlabelled images" : "Training"} stopped; it goes on when you start it again.`,
			kind: ""
		};
		if (training.state === "failed") return {
			text: `Training failed: ${training.error}`,
			kind: "bad"
		};
		const details = `\n${[compared(training), spent(training)].filter(Boolean).join(" ")}${notes}`.trimEnd();
		if (model_version > from) return {
			text: `Model ${model_version} is live. Segment again to use it.${details}`,
			kind: "good"
		};
		return {
			text: `The trained model was not better than what is served; ${trained ? `model ${model_version}` : "the untrained answer"} stays.${details}`,
			kind: ""
		};
	}
	/** What a training changed, in numbers of the slices held back from it; '' where nothing was held back. */
	function compared({ measured_on, best_metric, previous_metric }) {
		const held = measured_on?.length ?? 0;
		if (!held || best_metric === void 0) return "";
		const before = typeof previous_metric === "number" ? `, ${previous_metric.toFixed(2)} before` : "";
		return `On ${count(held, "slice")} held back its Dice is ${best_metric.toFixed(2)}${before}.`;
	}
	/** How long a training was, and whether it ended before it had learnt what it could. */
	function spent({ steps, seconds, limits, kind }) {
		if (!steps || kind === "unlabelled") return "";
		const time = seconds ? ` in ${Math.round(seconds)} s` : "";
		if (limits && seconds && steps < limits.steps && seconds >= .9 * limits.train_seconds) return `It stopped early, after ${steps} of ${limits.steps} steps${time}: this machine is slow.`;
		return `It took ${count(steps, "step")}${time}.`;
	}
	/** The one thing to do next, and why others cannot be done now: by button. */
	function guide(now) {
		const blocked = {};
		const all = [
			"submit",
			"theirs",
			"both",
			"segment",
			"train",
			"next",
			"skip"
		];
		const block = (why, names) => names.forEach((name) => blocked[name] ??= why);
		if (!now.open) block("Open an image series first.", [
			...all,
			"back",
			"right"
		]);
		if (now.busy) block(`${now.busy} …`, all.filter((name) => name !== "train" || !now.training));
		if (!now.dirty) block("Nothing is drawn that was not submitted.", ["submit"]);
		if (!now.labelled) block("Submit a label of at least one slice first.", ["segment", "train"]);
		const [, highlight, hint] = [
			[
				!now.structures,
				"add",
				"Name a structure"
			],
			[
				!now.labelled && !now.dirty,
				"brush",
				"Draw on 2 or 3 slices"
			],
			[
				now.dirty > 0,
				"submit",
				`Submit ${count(now.dirty, "slice")}`
			],
			[
				!now.answered,
				"segment",
				"Segment"
			],
			[
				true,
				"next",
				"another slice, or correct it"
			]
		].find(([wanted]) => wanted);
		return now.open ? {
			highlight,
			hint,
			blocked
		} : {
			highlight: "",
			hint: "",
			blocked
		};
	}
	/** How much of a training that runs is done, from 0 to 1, by whichever of its limits is nearer; undefined before its first step. */
	function done({ step, seconds, limits, epoch, total_epochs }) {
		if (step && limits) return Math.min(1, Math.max(step / limits.steps, (seconds ?? 0) / limits.train_seconds));
		return total_epochs ? (epoch ?? 0) / total_epochs : void 0;
	}
	function progress(state, busy) {
		const stats = state?.training;
		const parts = [];
		if (busy) parts.push(`${busy} …`);
		if (stats?.running) {
			const steps = stats.step ? `, step ${stats.step}${stats.limits ? ` of ${stats.limits.steps}` : ""}` : "";
			const seconds = stats.seconds ? `, ${Math.round(stats.seconds)} s` : "";
			parts.push(stats.waiting_for ? `waiting for ${stats.waiting_for}` : `training${steps}${seconds}`);
		}
		const encoding = parts.length ? "" : encodingOf(state);
		if (encoding) parts.push(encoding);
		else if (!parts.length && state) parts.push(state.trained ? `Model ${state.model_version} is live.` : "Not trained yet.");
		return parts.join(" · ");
	}
	/** What the encoder still has to do before it is through with the open series; '' where it is or does nothing. */
	function encodingOf(state) {
		const { image, encoding } = state ?? {};
		if (!image || image.encoded || encoding?.state !== "encoding" || encoding.error) return "";
		const { views, slices_done = 0, slices_total = 0 } = encoding;
		const left = (encoding.image === image.id ? slices_total - slices_done : image.slices) + (views ? views.total - views.done : 0);
		return left ? `Encoding: ${left} left` : "";
	}
	// src/viewer/grid.ts
	/** The viewports on the screen: which of them is worked in, and what each shows of a series. */
	/**
	* The viewport that is worked in, and the image series in it; null while there is none. Where the active one shows no
	* slices as they were acquired, it is another viewport of the same series that does.
	*/
	function active() {
		try {
			const state = host.services.viewportGridService.getState();
			const here = shownIn(state.viewports.get(state.activeViewportId), state.activeViewportId);
			if (!here || here.view === "slices") return here;
			return [...state.viewports].map(([id, viewport]) => shownIn(viewport, id)).find((one) => one?.view === "slices" && one.displaySet === here.displaySet) ?? here;
		} catch {
			return null;
		}
	}
	/** Whether a series is what is worked with, in a viewport; nothing else is, while nothing is mounted. */
	function isShown(series, viewportId) {
		const now = active();
		return !now || now.displaySet.SeriesInstanceUID === series && now.viewportId === viewportId;
	}
	/**
	* The viewport that an element of the page lies in, and what it shows; null where there is none. A press on a viewport
	* that is not active meets the frame around it, which lies in none.
	*/
	function shownAt(target) {
		try {
			const all = [...host.services.viewportGridService.getState().viewports];
			const elements = all.map(([id]) => viewportOf(id)?.element);
			const within = elements.map((element) => element?.contains(target));
			const around = elements.map((element) => target.contains(element ?? null) && element !== void 0);
			const places = within.includes(true) ? within : around;
			if (places.filter(Boolean).length !== 1) return null;
			const [id, viewport] = all[places.indexOf(true)];
			return shownIn(viewport, id);
		} catch {
			return null;
		}
	}
	/** What a viewport shows of a series of images; one that is not mounted yet is taken to show its slices. */
	function viewOf(viewportId, displaySet) {
		const viewport = viewportOf(viewportId);
		if (viewport?.type === "volume3d") return "volume";
		const sight = viewport?.type === "orthographic" ? viewport.getCamera?.().viewPlaneNormal : null;
		const first = displaySet.images[0];
		if (!sight || !first?.imageId) return "slices";
		return Math.abs(dot(sight, planeOf(first.imageId).normal)) > .999 ? "slices" : "planes";
	}
	function shownIn(viewport, viewportId) {
		for (const uid of viewport?.displaySetInstanceUIDs ?? []) {
			const displaySet = host.services.displaySetService.getDisplaySetByUID(uid);
			if (displaySet?.images?.length && displaySet.Modality !== "SEG") return {
				viewportId,
				displaySet,
				view: viewOf(viewportId, displaySet)
			};
		}
		return null;
	}
	/** A stored segmentation that is shown instead of images, by a double click on it; null while images are. */
	function storedSegmentation() {
		try {
			const state = host.services.viewportGridService.getState();
			const displaySet = (state.viewports.get(state.activeViewportId)?.displaySetInstanceUIDs ?? []).map((uid) => host.services.displaySetService.getDisplaySetByUID(uid)).find((one) => one?.Modality === "SEG");
			return displaySet && !active() ? {
				viewportId: state.activeViewportId,
				displaySet
			} : null;
		} catch {
			return null;
		}
	}
	/** Show a series in a viewport again, instead of a stored segmentation. */
	function showSeries(viewportId, displaySetInstanceUID) {
		host.services.viewportGridService.setDisplaySetsForViewport({
			viewportId,
			displaySetInstanceUIDs: [displaySetInstanceUID]
		});
	}
	// src/acts/desk.ts
	/**
	* The open series, for what is done to the slice on the screen; null while the viewer shows another series, which the
	* next look opens.
	*/
	function onScreen(desk) {
		const { map } = desk;
		if (!map || isShown(map.series, map.viewportId)) return map;
		desk.say(opening, "bad");
		return null;
	}
	/** Whether a series was left meanwhile; it is said then, and what was asked for there is not to be done in another one. */
	function left(desk, map) {
		if (desk.map === map) return false;
		desk.say(left$1, "bad");
		return true;
	}
	// src/model/trail.ts
	var [TRAIL, SKIPPED, UNSHOWN, JUMP] = [
		"fewsam.trail",
		"fewsam.skipped",
		"fewsam.unshown",
		"fewsam.jump"
	];
	var Trail = class {
		store;
		constructor(store) {
			this.store = store;
		}
		/** Note where the person is, before Next leads elsewhere. */
		leave(place) {
			const places = this.read(TRAIL, []);
			const last = places[places.length - 1];
			if (last?.series === place.series && last.slice === place.slice) return;
			this.write(TRAIL, [...places, place].slice(-200));
		}
		get length() {
			return this.read(TRAIL, []).length;
		}
		/** Where the person was before; null at the start. */
		back() {
			const places = this.read(TRAIL, []);
			const last = places.pop() ?? null;
			this.write(TRAIL, places);
			return last;
		}
		/** Do not offer a slice again in this sitting. */
		skip(series, slice) {
			const all = this.read(SKIPPED, {});
			this.write(SKIPPED, {
				...all,
				[series]: [.../* @__PURE__ */ new Set([...all[series] ?? [], slice])]
			});
		}
		skipped(series) {
			return this.read(SKIPPED, {})[series] ?? [];
		}
		/** The viewer cannot show a series: it is not offered again. */
		unshowable(series) {
			this.write(UNSHOWN, [.../* @__PURE__ */ new Set([...this.unshown, series])]);
		}
		get unshown() {
			return this.read(UNSHOWN, []);
		}
		/** Go to a place in another study once that is loaded. */
		depart(place) {
			this.write(JUMP, place);
		}
		get destination() {
			return this.read(JUMP, null);
		}
		arrived() {
			this.store.removeItem(JUMP);
		}
		read(key, otherwise) {
			try {
				return JSON.parse(this.store.getItem(key) ?? "null") ?? otherwise;
			} catch {
				return otherwise;
			}
		}
		write(key, value) {
			try {
				this.store.setItem(key, JSON.stringify(value));
			} catch {}
		}
	};
	// src/acts/journey.ts
	/** From slice to slice: Next stays in the open series while something there is worth labelling, and Back leads back. */
	var TRIES = 20;
	var Journey = class {
		desk;
		trail = new Trail(sessionStorage);
		offered = null;
		constructor(desk) {
			this.desk = desk;
		}
		get canGoBack() {
			return this.trail.length > 0;
		}
		async next(leave = false) {
			await this.desk.work("Choosing", async (map) => {
				map.commit();
				const offer = await this.ask(map, leave);
				await map.released();
				if (left(this.desk, map)) return;
				if (!offer.id) return this.nothingLeft(offer.left ?? 0, leave);
				if (offer.id !== map.series) return void this.go({
					study: offer.study ?? "",
					series: offer.id,
					slice: offer.slice ?? 0
				});
				map.commit();
				this.trail.leave(this.here(map));
				this.offered = offer.slice ?? 0;
				map.geometry.jump(this.offered);
				this.desk.say(`${capital(slicesOf([this.offered]))}: its label would teach most.`, "good");
			});
		}
		/** Another slice instead of the one on the screen. */
		async skip() {
			const map = this.desk.map;
			if (!map) return;
			this.trail.skip(map.series, this.offered ?? map.geometry.current());
			this.offered = null;
			await this.next();
		}
		back() {
			const map = this.desk.map;
			const place = this.trail.back();
			if (!place) return this.desk.say("You are where you began.", "");
			if (map?.series !== place.series) {
				if (!this.go(place, false)) this.trail.leave(place);
				return;
			}
			map.geometry.jump(place.slice);
			this.desk.say(`Back on ${slicesOf([place.slice])}.`, "");
			this.desk.show();
		}
		/** After a change of study: to the slice it was made for. */
		arrive() {
			const [there, map] = [this.trail.destination, this.desk.map];
			if (!there || !map || there.series !== map.series) return;
			this.trail.arrived();
			window.setTimeout(() => map.geometry.jump(there.slice), 600);
			this.desk.say(`Another study, ${slicesOf([there.slice])}. Back leads to where you were.`, "good");
		}
		/** Whether Next led to a series that the viewer does not show: it says so, and Back leads back. */
		stranded() {
			const there = this.trail.destination;
			if (!there) return false;
			this.trail.unshowable(there.series);
			this.trail.arrived();
			this.desk.say("The viewer cannot show the series that was next; it is not offered again.", "asks", [{
				label: "Back to where I was",
				act: () => this.back()
			}]);
			return true;
		}
		/** An offer that the viewer can show. */
		async ask(map, leave) {
			let offer = {};
			for (let n = 0; n < TRIES; n++) {
				const { unshown } = this.trail;
				offer = await next({
					image: map.series,
					skip: this.trail.skipped(map.series),
					leave,
					unshown
				});
				if (!offer.id || !offer.sop_class || shows(offer.sop_class)) return offer;
				this.trail.unshowable(offer.id);
			}
			return { left: offer.left };
		}
		nothingLeft(left, leave) {
			if (leave) return this.desk.say("Nothing is left to label: every slice is labelled, skipped, or somebody else is at it.", "good");
			const rest = left ? `${count(left, "slice")} of this series ${left === 1 ? "is" : "are"} not labelled, and none is worth asking for` : "Every slice of this series is labelled";
			this.desk.say(`${rest}. Go on in another series?`, "asks", [{
				label: "Go there",
				act: () => void this.next(true)
			}, {
				label: "Stay",
				act: () => this.desk.say("Draw, correct or train on; Next slice asks again.", "")
			}]);
		}
		/** To a series of the worklist; Back leads back. */
		visit(study, series) {
			this.go({
				study,
				series,
				slice: 0
			});
		}
		here(map) {
			return {
				study: active()?.displaySet.StudyInstanceUID ?? "",
				series: map.series,
				slice: map.geometry.current()
			};
		}
		/** To another series, for which the page is loaded anew; not while that would lose something. Whether it goes there. */
		go(place, noted = true) {
			const { map } = this.desk;
			if (!this.desk.keep()) {
				this.desk.say(unkept, "bad");
				return false;
			}
			if (map && noted) this.trail.leave(this.here(map));
			this.trail.depart(place);
			const there = new URLSearchParams({
				StudyInstanceUIDs: place.study,
				initialSeriesInstanceUID: place.series
			});
			this.desk.say("Going to another study.", "");
			location.assign(`${location.pathname}?${there}`);
			return true;
		}
	};
	// src/viewer/layout.ts
	/** The viewer's layouts: to the structures in 3D, and back to a layout that shows slices. */
	var ROOM = .6;
	var IN_3D = "only3D";
	var Layout = class {
		slices = "default";
		asked = false;
		/** Slices are shown: it is this layout that back() leads to. */
		remember() {
			const id = host.services.hangingProtocolService.getActiveProtocol()?.protocol?.id;
			if (id && id !== IN_3D) this.slices = id;
			this.asked = false;
		}
		back() {
			host.commands.run("setHangingProtocol", { protocolId: this.slices });
		}
		in3D() {
			this.remember();
			this.asked = true;
			host.commands.run("setHangingProtocol", { protocolId: IN_3D });
		}
		/** Hide the volume, within which the structures lie, as soon as the viewer has made their surfaces. */
		bare() {
			const now = this.asked ? active() : null;
			const viewport = now?.view === "volume" ? viewportOf(now.viewportId) : null;
			const actors = (viewport?.getActors() ?? []).map((one) => one.actor);
			const volumes = actors.filter((one) => one?.isA?.("vtkVolume"));
			if (actors.length === volumes.length || !volumes.some((one) => one.getVisibility())) return;
			volumes.forEach((one) => one.setVisibility(false));
			lookAt(viewport, viewport.getRenderer().computeVisiblePropBounds());
		}
	};
	/** Have the structures fill the viewport: the viewer itself looks at the middle of the volume. */
	function lookAt(viewport, [left, right, front, back, low, high]) {
		const { position, focalPoint } = viewport.getCamera();
		const middle = [
			(left + right) / 2,
			(front + back) / 2,
			(low + high) / 2
		];
		const parallelScale = Math.hypot(right - left, back - front, high - low) * ROOM;
		viewport.setCamera({
			focalPoint: middle,
			position: middle.map((v, axis) => v + position[axis] - focalPoint[axis]),
			parallelScale
		});
		viewport.render();
	}
	// src/viewer/tools.ts
	var VIEWER = {
		brush: "CircularBrush",
		eraser: "CircularEraser",
		threshold: "ThresholdCircularBrushDynamic"
	};
	var NONE = "WindowLevel";
	var POINTING = [
		"include",
		"exclude",
		"lasso",
		"scribble",
		"box"
	];
	var Toolbox = class {
		store;
		constructor(store) {
			this.store = store;
		}
		/** brush, eraser, threshold, lasso, include, exclude, or '' for one of the viewer's own. */
		get current() {
			return this.store.tool.value;
		}
		set current(tool) {
			this.store.tool.value = tool;
		}
		get pointing() {
			return POINTING.includes(this.current);
		}
		/** Take a tool, or put it away if it is in hand. */
		pick(tool, viewportId) {
			this.current = this.current === tool ? "" : tool;
			useTool(viewportId, VIEWER[this.current] ?? NONE);
			if (VIEWER[this.current]) brushSize(this.store.radius.value);
		}
		size(radius) {
			brushSize(this.store.radius.value = Math.max(1, Math.min(60, radius)));
		}
		/** Look what the viewer has in hand: its own buttons and keys choose tools too. Whether that changed something. */
		follow(viewportId) {
			const inHand = primary(viewportId);
			if (inHand === null) return false;
			const here = Object.keys(VIEWER).find((tool) => VIEWER[tool] === inHand) ?? "";
			if (this.pointing ? inHand === NONE : here === this.current) return false;
			this.current = here;
			return true;
		}
	};
	/** Whether the tool in hand there draws in a labelmap: ours by the viewer's brushes, or another one of the viewer's own. */
	var drawsIn = (viewportId) => /brush|eraser|scissor|fill|segment/i.test(primary(viewportId) ?? "");
	function primary(viewportId) {
		try {
			const group = host.services.toolGroupService.getToolGroupForViewport(viewportId);
			return group ? group.getActivePrimaryMouseButtonTool() ?? "" : null;
		} catch {
			return null;
		}
	}
	// src/acts/aside.ts
	var PRESSES = [
		"pointerdown",
		"mousedown",
		"touchstart"
	];
	var Asides = class {
		desk;
		layout = new Layout();
		returning = false;
		constructor(desk) {
			this.desk = desk;
			PRESSES.forEach((name) => window.addEventListener(name, this.guard, true));
		}
		close() {
			PRESSES.forEach((name) => window.removeEventListener(name, this.guard, true));
		}
		/** The structures in 3D, in the viewer's own viewport. */
		in3D() {
			this.desk.store.tool.value = "";
			this.layout.in3D();
		}
		/** Whether nothing can be drawn at the moment. */
		look(map) {
			const { store } = this.desk;
			const now = whatIsShown(map);
			if (now !== store.aside.value) this.turn(map, now);
			if (now === "") this.layout.remember();
			else this.layout.bare();
			return now !== "" || this.returning;
		}
		turn(map, now) {
			const { store } = this.desk;
			store.aside.value = now;
			if (now === "") this.back(map);
			else {
				const stored = storedSegmentation();
				store.tool.value = "";
				const act = () => stored ? showSeries(stored.viewportId, map.displaySetId) : this.layout.back();
				this.desk.say(ASIDE[now], "asks", [{
					label: "Back to drawing",
					act
				}]);
			}
			this.desk.show();
		}
		/** A view in 3D leaves surfaces in the viewport, where drawing needs the labelmap. */
		async back(map) {
			this.returning = true;
			try {
				if (!map.intact) await map.recover();
				if (!map.isActive) map.activate();
				this.desk.say("Drawing goes on in the structures listed here.", "");
			} catch (error) {
				this.desk.say(`The viewer does not show the labelmap again: reload the page; what you drew is kept. (${error.message})`, "bad");
			} finally {
				this.returning = false;
			}
		}
		/**
		* A stroke on a plane would change a line of many slices, and each would count as drawn. A press on a viewport that is
		* not active makes it active, and draws nothing.
		*/
		guard = (event) => {
			if (event.button) return;
			const there = shownAt(event.target);
			if (there?.view !== "planes" || !(this.desk.store.tool.value || drawsIn(there.viewportId))) return;
			if (event.type === "pointerdown") return this.desk.say(PLANES, "bad");
			if (there.viewportId !== host.services.viewportGridService.getState().activeViewportId) return;
			event.stopImmediatePropagation();
			event.preventDefault();
		};
	};
	function whatIsShown(map) {
		if (storedSegmentation()) return "stored";
		const now = active();
		return now && now.view !== "slices" && now.displaySet.SeriesInstanceUID === map.series ? "layout" : "";
	}
	// src/acts/closing.ts
	var Closing = class {
		opening;
		constructor(opening) {
			this.opening = opening;
			window.addEventListener("pagehide", this.hide);
			window.addEventListener("beforeunload", this.ask);
		}
		close() {
			window.removeEventListener("pagehide", this.hide);
			window.removeEventListener("beforeunload", this.ask);
		}
		hide = () => void this.opening.keep(true);
		ask = (event) => {
			if (this.opening.keep()) return;
			event.preventDefault();
			event.returnValue = true;
		};
	};
	// src/model/masks.ts
	/** Without holes: everything that the mask encloses is of it. */
	function filled(mask, width) {
		const height = mask.length / width;
		const outside = new Uint8Array(mask.length);
		const stack = [];
		const visit = (at) => {
			if (mask[at] || outside[at]) return;
			outside[at] = 1;
			stack.push(at);
		};
		for (let i = 0; i < width; i++) [i, (height - 1) * width + i].forEach(visit);
		for (let j = 0; j < height; j++) [j * width, j * width + width - 1].forEach(visit);
		while (stack.length) neighbours(stack.pop(), width, height).forEach(visit);
		return outside.map((value) => 1 - value);
	}
	var LEAST$1 = .1;
	/** Without parts that are smaller than a tenth of the largest one. */
	function withoutIslands(mask, width) {
		const parts = components(mask, width);
		const largest = Math.max(0, ...parts.map((part) => part.length));
		const result = new Uint8Array(mask.length);
		for (const part of parts) if (part.length >= LEAST$1 * largest) part.forEach((at) => result[at] = 1);
		return result;
	}
	/** Connected parts of a mask, each as places of its pixels; pixels that share an edge are connected. */
	function components(mask, width) {
		const height = mask.length / width;
		const seen = new Uint8Array(mask.length);
		const parts = [];
		for (let start = 0; start < mask.length; start++) {
			if (!mask[start] || seen[start]) continue;
			const part = [start];
			seen[start] = 1;
			for (let n = 0; n < part.length; n++) for (const at of neighbours(part[n], width, height)) {
				if (!mask[at] || seen[at]) continue;
				seen[at] = 1;
				part.push(at);
			}
			parts.push(part);
		}
		return parts;
	}
	/** With a smooth outline: a pixel is of it where most of its surroundings are. */
	function smoothed(mask, width, radius = 2) {
		const once = blurred(Float32Array.from(mask), width, radius);
		return Uint8Array.from(blurred(once, width, radius), (value) => value > .5 ? 1 : 0);
	}
	function blurred(values, width, radius) {
		const height = values.length / width;
		const along = (from, count, step, lines, next) => {
			const to = new Float32Array(from.length);
			for (let line = 0; line < lines; line++) for (let n = 0; n < count; n++) {
				let sum = 0;
				for (let d = -radius; d <= radius; d++) sum += from[line * next + Math.max(0, Math.min(count - 1, n + d)) * step];
				to[line * next + n * step] = sum / (2 * radius + 1);
			}
			return to;
		};
		return along(along(values, width, 1, height, width), height, width, width, 1);
	}
	/** The pixels inside a closed line through points (i, j): those whose centre it encloses, by the even-odd rule. */
	function polygon(points, width, height) {
		const mask = new Uint8Array(width * height);
		for (let j = 0; j < height; j++) {
			const crossings = [];
			points.forEach(([i1, j1], n) => {
				const [i2, j2] = points[(n + 1) % points.length];
				if (j1 <= j !== j2 <= j) crossings.push(i1 + (j - j1) / (j2 - j1) * (i2 - i1));
			});
			crossings.sort((a, b) => a - b);
			for (let n = 0; n + 1 < crossings.length; n += 2) {
				const end = Math.min(width - 1, Math.floor(crossings[n + 1]));
				for (let i = Math.max(0, Math.ceil(crossings[n])); i <= end; i++) mask[j * width + i] = 1;
			}
		}
		return mask;
	}
	/** The mask between two others, ``share`` of the way from a to b: by their distances to the outline, laid one over the other. */
	function between(a, b, share, width) {
		const [from, to] = [centre(a, width), centre(b, width)];
		const away = [to[0] - from[0], to[1] - from[1]];
		const [da, db] = [distances(a, width), distances(b, width)];
		const height = a.length / width;
		const result = new Uint8Array(a.length);
		for (let j = 0; j < height; j++) for (let i = 0; i < width; i++) if ((1 - share) * at(da, i - share * away[0], j - share * away[1], width, height) + share * at(db, i + (1 - share) * away[0], j + (1 - share) * away[1], width, height) > 0) result[j * width + i] = 1;
		return result;
	}
	/** Distance of each pixel to the outline, in pixels: above 0 inside, below 0 outside. */
	function distances(mask, width) {
		const inside = squaredDistances(mask.map((value) => 1 - value), width);
		const outside = squaredDistances(mask, width);
		return Float32Array.from(mask, (value, n) => value ? Math.sqrt(inside[n]) - .5 : .5 - Math.sqrt(outside[n]));
	}
	var FAR = 0xe8d4a51000;
	/** Squared distance of each pixel to the nearest one of the mask (Felzenszwalb and Huttenlocher, 2012). */
	function squaredDistances(mask, width) {
		const height = mask.length / width;
		const values = Float64Array.from(mask, (value) => value ? 0 : FAR);
		for (let i = 0; i < width; i++) lowerEnvelope(values, i, width, height);
		for (let j = 0; j < height; j++) lowerEnvelope(values, j * width, 1, width);
		return values;
	}
	function lowerEnvelope(values, start, step, count) {
		const f = Float64Array.from({ length: count }, (_, n) => values[start + n * step]);
		const [vertex, bound] = [new Int32Array(count), new Float64Array(count + 1)];
		let k = 0;
		bound[0] = -Infinity;
		bound[1] = Infinity;
		for (let q = 1; q < count; q++) {
			const meet = () => (f[q] + q * q - f[vertex[k]] - vertex[k] * vertex[k]) / (2 * q - 2 * vertex[k]);
			let s = meet();
			while (s <= bound[k]) {
				k--;
				s = meet();
			}
			vertex[++k] = q;
			bound[k] = s;
			bound[k + 1] = Infinity;
		}
		k = 0;
		for (let q = 0; q < count; q++) {
			while (bound[k + 1] < q) k++;
			values[start + q * step] = (q - vertex[k]) ** 2 + f[vertex[k]];
		}
	}
	function centre(mask, width) {
		let [i, j, n] = [
			0,
			0,
			0
		];
		mask.forEach((value, at) => {
			if (!value) return;
			i += at % width;
			j += Math.floor(at / width);
			n++;
		});
		return n ? [i / n, j / n] : [0, 0];
	}
	/** A field between its pixels; beyond the edge as at the edge. */
	function at(field, i, j, width, height) {
		const [x, y] = [Math.max(0, Math.min(width - 1, i)), Math.max(0, Math.min(height - 1, j))];
		const [i0, j0] = [Math.floor(x), Math.floor(y)];
		const [i1, j1] = [Math.min(i0 + 1, width - 1), Math.min(j0 + 1, height - 1)];
		const [u, v] = [x - i0, y - j0];
		const row = (n) => (1 - u) * field[n * width + i0] + u * field[n * width + i1];
		return (1 - v) * row(j0) + v * row(j1);
	}
	function neighbours(place, width, height) {
		const [i, j] = [place % width, Math.floor(place / width)];
		const found = [];
		if (i > 0) found.push(place - 1);
		if (i < width - 1) found.push(place + 1);
		if (j > 0) found.push(place - width);
		if (j < height - 1) found.push(place + width);
		return found;
	}
	// src/model/editing.ts
	/** What one press of a button changes on slices: the pixels of one structure, as a step of the session. */
	function maskOf(slice, value) {
		return slice.map((pixel) => pixel === value ? 1 : 0);
	}
	/** The slice with another mask of a structure, which takes only what is empty: other structures stay. */
	function withMask(slice, value, mask) {
		return slice.map((pixel, at) => {
			if (mask[at]) return pixel || value;
			return pixel === value ? 0 : pixel;
		});
	}
	/** A slice as it was changed, but for the pixels of locked structures. */
	function sparing(changed, slice, locked) {
		return locked.length ? changed.map((value, at) => locked.includes(slice[at]) ? slice[at] : value) : changed;
	}
	/** The slice with a structure painted over it, or erased; pixels of ``locked`` structures stay. */
	function painted(slice, value, area, erase, locked = []) {
		return slice.map((pixel, at) => {
			if (!area[at] || locked.includes(pixel)) return pixel;
			if (!erase) return value;
			return pixel === value ? 0 : pixel;
		});
	}
	/** A structure on the slices between two drawn ones that both show it, where nobody has drawn: new pixels by slice.
	*
	* Args:
	*     shown: what each slice shows.
	*     drawn: slices that a person drew or confirmed, in order.
	*/
	function interpolated(shown, drawn, value, width) {
		const found = /* @__PURE__ */ new Map();
		for (let n = 0; n + 1 < drawn.length; n++) {
			const [first, last] = [drawn[n], drawn[n + 1]];
			if (last - first < 2) continue;
			const [a, b] = [maskOf(shown(first), value), maskOf(shown(last), value)];
			if (!a.includes(1) || !b.includes(1)) continue;
			for (let k = first + 1; k < last; k++) found.set(k, withMask(shown(k), value, between(a, b, (k - first) / (last - first), width)));
		}
		return found;
	}
	// src/acts/editing.ts
	/** Edit the chosen structure by one press: on the slice on the screen, or on the slices between drawn ones. */
	var Editing = class {
		desk;
		constructor(desk) {
			this.desk = desk;
		}
		holes() {
			this.reshape("has no holes", filled);
		}
		smooth() {
			this.reshape("is smooth already", smoothed);
		}
		islands() {
			this.reshape("has no islands", withoutIslands);
		}
		/** From the slice before, as the viewer counts them. */
		copy() {
			this.edit((map, { name, value }, k) => {
				const before = map.geometry.at(map.geometry.placeOf(k) - 1);
				const mask = before === null ? null : maskOf(map.session.slices.shown(before), value);
				if (before === null || !mask?.includes(1)) return this.desk.say(`${name} is not on the slice before: there is nothing to copy.`, "bad");
				this.draw(map, /* @__PURE__ */ new Map([[k, withMask(map.session.slices.shown(k), value, mask)]]), `${name} is copied from ${slicesOf([before])}.`);
			});
		}
		interpolate() {
			this.edit((map, { name, value }) => {
				const { slices } = map.session;
				const labelled = this.desk.store.server.value?.image?.labelled ?? [];
				const found = interpolated((k) => slices.shown(k), [.../* @__PURE__ */ new Set([...slices.dirty, ...labelled])].sort((a, b) => a - b), value, map.geometry.planes[0].columns);
				if (!found.size) return this.desk.say(`${name} is on no two drawn slices with others between them.`, "bad");
				const where = slicesOf([...found.keys()]);
				this.draw(map, found, `${name} is interpolated on ${where}. Look at them; Submit makes them labels, Undo takes them back.`);
			});
		}
		/** Paint, or erase, what a closed line through places (i, j) encloses. */
		area(places, on, erase) {
			this.edit((map, { value }) => {
				const { columns, rows } = map.geometry.planes[on];
				const { locked } = this.desk.store.look.value;
				const pixels = painted(map.session.slices.shown(on), value, polygon(places, columns, rows), erase, locked);
				this.draw(map, /* @__PURE__ */ new Map([[on, pixels]]), "");
			});
		}
		reshape(otherwise, change) {
			this.edit((map, { name, value }, k) => {
				const shown = map.session.slices.shown(k);
				const pixels = withMask(shown, value, change(maskOf(shown, value), map.geometry.planes[k].columns));
				this.draw(map, /* @__PURE__ */ new Map([[k, pixels]]), "") || this.desk.say(`${name} ${otherwise} on ${slicesOf([k])}.`, "");
			});
		}
		/** Do something with the chosen structure on the slice on the screen. */
		edit(change) {
			const { store, structures } = this.desk;
			const [map, structure] = [onScreen(this.desk), structures.of(store.chosen.value)];
			if (!map || !structure) return;
			if (store.look.value.locked.includes(structure.value)) return this.desk.say(`${structure.name} is locked.`, "bad");
			map.commit();
			change(map, structure, map.geometry.current());
			this.desk.show();
		}
		draw(map, slices, text) {
			const changed = map.session.draw(slices);
			map.render(changed);
			if (text) this.desk.say(text, "good");
			return changed.length > 0;
		}
	};
	// src/acts/judging.ts
	/** Say what a slice is without drawing: right as it is, or without a structure. Both are steps of undo. */
	var Judging = class {
		desk;
		constructor(desk) {
			this.desk = desk;
		}
		/** The slice on the screen is right as it is shown. */
		right() {
			const map = onScreen(this.desk);
			if (!map) return;
			map.commit();
			const k = map.geometry.current();
			const { slices } = map.session;
			map.render(map.session.confirm(k));
			const said = slices.isConfirmed(k) ? "right as it is" : "drawn by hand already";
			this.said(`${capital(slicesOf([k]))} is ${said}. Submit makes it a label.`);
		}
		/** The chosen structure is not on the slice on the screen. */
		absent() {
			const { structures, store } = this.desk;
			const [map, structure] = [onScreen(this.desk), structures.of(store.chosen.value)];
			if (!map || !structure) return;
			map.commit();
			const k = map.geometry.current();
			map.render(map.session.absent(k, structure.value));
			const others = map.session.slices.shown(k).some(Boolean) ? "" : ", and nothing else is";
			this.said(`${structure.name} is not on ${slicesOf([k])}${others}. Submit makes that a label.`);
		}
		said(text) {
			this.desk.say(text, "good");
			this.desk.show();
		}
	};
	// src/model/keys.ts
	var TOOLS$1 = {
		b: "brush",
		e: "eraser",
		t: "threshold",
		p: "lasso",
		a: "include",
		x: "exclude",
		w: "scribble",
		q: "box"
	};
	var COMMANDS = {
		s: "submit",
		g: "segment",
		m: "train",
		n: "next",
		k: "skip",
		N: "back",
		y: "right",
		"0": "absent",
		f: "holes",
		o: "smooth",
		u: "islands",
		d: "copy",
		j: "interpolate"
	};
	/** What the sheet of keys says: groups of rows, keys and what they do. */
	var SHEET = [
		{
			title: "Tools",
			rows: [
				["B", "brush"],
				["E", "eraser"],
				["T", "threshold brush"],
				["P", "lasso: drag, or click corners and close with Enter; Alt erases"],
				["[ and ]", "smaller and larger brush"],
				["1 to 9", "structure of the list; the window presets are in the menu of the viewport"],
				["A and X", "include and exclude points"],
				["W and Q", "scribble and box; with Alt they exclude"]
			]
		},
		{
			title: "The slice on the screen",
			rows: [
				["F", "fill the holes of the chosen structure"],
				["O", "smooth its outline"],
				["U", "remove its islands"],
				["D", "copy it from the slice before"],
				["Y", "this slice is right"],
				["0", "the structure is not on this slice"]
			]
		},
		{
			title: "The round",
			rows: [
				["J", "interpolate between drawn slices"],
				["S", "submit"],
				["G", "segment"],
				["M", "train, or stop training"],
				["N, Shift+N", "next slice, and back"],
				["K", "skip"],
				["Ctrl+Z", "undo"],
				["Ctrl+Y, Ctrl+Shift+Z", "redo"],
				["?", "this sheet"]
			]
		}
	];
	/** What a key starts; null where it is none of ours.
	*
	* Args:
	*     digits: whether digits are ours: the panel is on the screen, or a tool of it in hand. Otherwise they choose the
	*         viewer's window and level.
	*/
	function pressed({ key, ctrlKey, metaKey, altKey, shiftKey }, digits) {
		if (altKey) return null;
		const letter = key.length === 1 ? key.toLowerCase() : "";
		if (ctrlKey || metaKey) {
			if (letter === "z") return { command: shiftKey ? "redo" : "undo" };
			return letter === "y" && !shiftKey ? { command: "redo" } : null;
		}
		if (key === "?") return { sheet: true };
		if (key === "[" || key === "]") return { size: key === "]" ? 1 : -1 };
		if (/^[1-9]$/.test(key)) return digits ? { structure: Number(key) } : null;
		if (shiftKey) return COMMANDS[letter.toUpperCase()] ? { command: COMMANDS[letter.toUpperCase()] } : null;
		if (TOOLS$1[letter]) return { tool: TOOLS$1[letter] };
		return COMMANDS[letter] ? { command: COMMANDS[letter] } : null;
	}
	// src/viewer/typing.ts
	/** Where the keys belong to a field. */
	/** Whether a key on this element is typed into it. */
	function typing(target) {
		if (target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
		if (target instanceof HTMLInputElement) return ![
			"range",
			"checkbox",
			"radio",
			"button",
			"color"
		].includes(target.type);
		return target instanceof HTMLElement && target.isContentEditable;
	}
	// src/acts/keys.ts
	var LARGER = 1.25;
	var Keys = class {
		store;
		acts;
		structures;
		onScreen;
		constructor(store, acts, structures, onScreen) {
			this.store = store;
			this.acts = acts;
			this.structures = structures;
			this.onScreen = onScreen;
			window.addEventListener("keydown", this.press, true);
		}
		close() {
			window.removeEventListener("keydown", this.press, true);
		}
		press = (event) => {
			const { sheet, tool, guide, radius } = this.store;
			if (sheet.value && event.key === "Escape") {
				sheet.value = false;
				return this.taken(event);
			}
			if (typing(event.target)) return;
			const what = pressed(event, tool.value !== "" || this.onScreen());
			if (!what) return;
			this.taken(event);
			if ("sheet" in what) sheet.value = !sheet.value;
			else if ("size" in what) this.acts.size(what.size > 0 ? radius.value * LARGER : radius.value / LARGER);
			else if ("structure" in what) {
				const structure = this.structures()[what.structure - 1];
				if (structure) this.acts.choose(structure.value);
			} else {
				const [name, start] = "tool" in what ? [what.tool, () => this.acts.pick(what.tool)] : [what.command, () => this.acts.press(what.command)];
				const why = guide.value.blocked[name];
				if (why && name !== "undo" && name !== "redo") this.store.say(why, "");
				else start();
			}
		};
		taken(event) {
			event.preventDefault();
			event.stopImmediatePropagation();
		}
	};
	// src/acts/labwork.ts
	/** Marks of the worklist, the person's name, and the way to another series. */
	var SAID = {
		done: "This series is done. The worklist leads to the next one.",
		unsure: "This series is marked as unsure.",
		open: "This series is open again.",
		accepted: "Accepted.",
		"sent back": "Sent back, with your note."
	};
	var Labwork = class {
		desk;
		lab;
		go;
		constructor(desk, lab, go) {
			this.desk = desk;
			this.lab = lab;
			this.go = go;
		}
		name() {
			const { lab } = this;
			if (!lab.typed.value.trim()) return;
			const kept = lab.keepName(lab.typed.value);
			lab.naming.value = false;
			const until = kept ? "from now on" : "until the page is closed: the store of the browser is full";
			this.desk.say(`Your labels bear the name ${lab.name.value} ${until}.`, kept ? "good" : "bad");
		}
		unfold(unfolded) {
			this.lab.unfolded.value = unfolded;
			this.look();
		}
		mark(series, state) {
			this.say(series, state, "", mark);
		}
		review(series, state) {
			const note = this.lab.note.value.trim();
			if (state === "sent back" && !note) return this.desk.say("Say in a few words what is to be mended, then send it back.", "bad");
			this.say(series, state, note, review);
		}
		visit(study, series) {
			this.go(study.study, series.image);
		}
		show({ slice }, { reading: reading$1, annotator }) {
			this.desk.work("Fetching", async (map) => {
				const { head, voxels } = await reading(map.series, reading$1);
				await map.released();
				if (left(this.desk, map)) return;
				map.commit();
				map.geometry.jump(slice);
				map.render(map.session.draw(/* @__PURE__ */ new Map([[slice, map.session.structures.fromServer(voxels, head.structures)]])));
				this.desk.say(`${capital(slicesOf([slice]))} as ${annotator || "the second reader"} drew it. Undo takes it away.`, "");
			});
		}
		adopt({ slice, in_force }, { reading, annotator }) {
			this.desk.work("Reviewing", async (map) => {
				await adopt(map.series, reading, in_force?.submission ?? 0);
				if (this.desk.map === map && await this.desk.fetch()) map.render(map.session.discard([slice]));
				const former = in_force?.annotator ? `; that of ${in_force.annotator} stays in its history` : "";
				this.desk.say(`${capital(slicesOf([slice]))} has the label of ${annotator || "the second reader"} now${former}.`, "good");
			});
		}
		/** Ask for the worklist, where somebody looks at it. */
		async look() {
			const { lab } = this;
			const series = this.desk.map?.series;
			if (!lab.unfolded.value) return;
			const [list, found] = await Promise.all([worklist(), series ? readings(series) : []]);
			lab.worklist.value = list;
			lab.readings.value = series === this.desk.map?.series ? found : [];
		}
		/** Whoever says that all is right says it of the labels that are shown here: of others the server refuses it. */
		async say({ image, mark }, state, note, tell) {
			const dirty = this.desk.store.open.value?.dirty.length ?? 0;
			const right = state === "done" || state === "accepted";
			if (right && dirty) return this.desk.say("Slices are drawn and not submitted. Submit them first, or undo them.", "bad");
			const labels = right && this.desk.map?.series === image ? this.desk.map.session.slices.submissions : void 0;
			try {
				await tell({
					image,
					state,
					note,
					seen: mark,
					labels
				});
				this.lab.note.value = "";
				this.desk.say(SAID[state], "good");
			} catch (error) {
				this.desk.say(error.message, "bad");
			}
			await this.look().catch((error) => this.desk.say(error.message, "bad"));
		}
	};
	// src/acts/learning.ts
	/** Segment the open series, train, and say what came of a training. */
	var Learning = class {
		desk;
		wasTraining = false;
		improvable = "";
		trainedFrom = 0;
		constructor(desk) {
			this.desk = desk;
		}
		async segment() {
			await this.desk.work("Segmenting", async (map) => {
				map.commit();
				const { head, voxels } = await segment(map.series, map.geometry.current());
				if (!head.shots) return this.desk.say((head.notes ?? ["There is no label to learn from yet."]).join("\n"), "bad");
				const before = this.desk.store.server.value?.image?.uncertainty.length;
				const changed = await this.desk.take(map, voxels, head);
				if (!changed) return;
				this.desk.store.changed.value = before ? changed : [];
				this.improvable = head.unencoded?.length ? map.series : "";
				map.session.points = [];
				this.desk.store.answered.value = true;
				this.desk.say(answer(head, map.session.slices.dirty.length), head.trained ? "good" : "");
			});
		}
		/** Start a training, or stop the one that runs. */
		async train() {
			const { store } = this.desk;
			if (store.training.value) return this.desk.work("Stopping", () => stopTraining());
			await this.desk.work("Starting", async () => {
				this.trainedFrom = store.server.value?.model_version ?? 0;
				await train();
				this.begun();
				this.desk.say("Training started.", "");
			});
		}
		/** Learn from images that nobody labelled, for when nobody waits. */
		async improve() {
			await this.desk.work("Starting", async () => {
				this.trainedFrom = this.desk.store.server.value?.model_version ?? 0;
				await improve();
				this.begun();
				this.desk.say(improving, "");
			});
		}
		/** A training is under way: an answer from before it would look like its end. */
		begun() {
			this.desk.overtake();
			this.wasTraining = true;
		}
		/** Go on with what has changed at the server since the last look. */
		look(state) {
			this.lookAtTraining(state);
			this.lookAtEncoding(state);
		}
		/** Ask again once all slices are encoded, unless something was drawn: then the person decides. */
		lookAtEncoding({ image }) {
			const { map, store } = this.desk;
			if (!this.improvable || store.busy.value || map?.drawing || !image?.encoded || image.id !== this.improvable) return;
			this.improvable = "";
			if (map?.series !== image.id) return;
			if (map.session.slices.dirty.length) this.desk.say(encoded, "");
			else this.segment();
		}
		/** Say what came of a training that ran at the last look and has ended. */
		lookAtTraining(state) {
			if (this.wasTraining && !state.training.running) {
				const { text, kind } = trained(state, this.trainedFrom);
				this.desk.say(text, kind);
				this.desk.store.answered.value = false;
			}
			if (!this.wasTraining && state.training.running) this.trainedFrom = state.model_version;
			this.wasTraining = Boolean(state.training.running);
		}
	};
	// src/acts/naming.ts
	/** Structures are added, renamed and deleted: on the server first, and here as it answers. */
	var Naming = class {
		desk;
		constructor(desk) {
			this.desk = desk;
		}
		async add(name) {
			const { structures, store } = this.desk;
			if (!name) return this.desk.say("Type the name of the structure first.", "bad");
			const there = structures.named(name);
			if (there?.id) return this.desk.choose(there.value);
			if (await this.change(() => addStructure(name))) {
				store.typed.value = "";
				this.desk.choose(structures.named(name)?.value ?? store.chosen.value);
			}
		}
		/** A new name for a structure of the server, or the first one of a segment that only this window has. */
		async rename(structure, name) {
			if (structure.id) await this.change(() => renameStructure(structure.id, name));
			else if (this.desk.structures.named(name)?.id) this.desk.say(`There is a ${name} already; choose another name.`, "bad");
			else if (await this.change(() => addStructure(name), () => this.named(structure.value, name))) this.desk.say(`${name} is a structure now.`, "good");
		}
		named(value, name) {
			const structure = this.desk.structures.of(value);
			if (structure) structure.name = name;
		}
		askToDelete({ id, name, slices }) {
			if (!id) return;
			const kept = slices ? ` Its labels on ${count(slices, "slice")} stay in the history, and come back when a ${name} is added again.` : "";
			const act = () => void this.change(() => deleteStructure(id)).then((done) => done && this.desk.say(`${name} is deleted.`, ""));
			this.desk.say(`Delete ${name} for everybody?${kept}`, "asks", [{
				label: "Delete",
				act
			}, {
				label: "Keep",
				act: () => this.desk.say(`${name} stays.`, "")
			}]);
		}
		async change(change, first = () => {}) {
			let done = false;
			await this.desk.work("Changing structures", async (map) => {
				map.commit();
				const answer = await change();
				first();
				this.desk.structures.update(answer);
				map.segments();
				if (await this.desk.fetch()) map.session.keep();
				done = true;
			});
			return done;
		}
	};
	// src/viewer/geometry.ts
	/** Where the slices of a series lie, as the viewer has them: k in ITK's order, places along the viewer's slider, pixels. */
	var Geometry = class {
		viewportId;
		planes;
		frames;
		constructor(viewportId, planes, frames) {
			this.viewportId = viewportId;
			this.planes = planes;
			this.frames = frames;
		}
		/** Place of slice k among the viewer's images. */
		imageOf(k) {
			return this.frames[k];
		}
		/** Places of all slices along the viewer's slider, by k; 0 at its top. A volume's slider runs along the line of sight. */
		places() {
			const viewport = viewportOf(this.viewportId);
			if (viewport?.type !== "orthographic") return this.frames;
			const [now, place] = [this.current(), viewport.getSliceIndex()];
			const ahead = dot(viewport.getCamera().viewPlaneNormal, this.planes[0].normal) < 0 ? -1 : 1;
			return this.planes.map((_, k) => place + ahead * (k - now));
		}
		/** Place of slice k along the viewer's slider. */
		placeOf(k) {
			return this.places()[k];
		}
		/** Slice k at a place along the viewer's slider; null where there is none. */
		at(place) {
			const k = this.places().indexOf(place);
			return k < 0 ? null : k;
		}
		/** Slice k that the viewport shows. */
		current() {
			const viewport = viewportOf(this.viewportId);
			if (!viewport) return 0;
			const imageId = viewport.getCurrentImageId?.();
			const camera = viewport.getCamera?.();
			const place = imageId ? planeOf(imageId).position : camera?.focalPoint;
			return place ? this.nearest(Array.from(place)) : 0;
		}
		nearest(world) {
			let best = 0;
			let least = Infinity;
			this.planes.forEach((plane, k) => {
				const away = Math.abs(dot(world.map((v, axis) => v - plane.position[axis]), plane.normal));
				if (away < least) [best, least] = [k, away];
			});
			return best;
		}
		/** Place (i, j) of a point in space on slice k; whole numbers are the centres of pixels. */
		place(world, k) {
			const plane = this.planes[k];
			const from = world.map((v, axis) => v - plane.position[axis]);
			return [dot(from, plane.row) / plane.spacing[0], dot(from, plane.column) / plane.spacing[1]];
		}
		world(i, j, k) {
			const { position, row, column, spacing } = this.planes[k];
			return position.map((v, axis) => v + row[axis] * spacing[0] * i + column[axis] * spacing[1] * j);
		}
		jump(k) {
			const viewport = viewportOf(this.viewportId);
			const now = active();
			if (!viewport || now?.viewportId === this.viewportId && now.view !== "slices") return;
			const shown = viewport.type !== "orthographic" && now?.viewportId === this.viewportId ? viewport.getImageIds?.() : null;
			const wanted = this.planes[k].position;
			let imageIndex = this.placeOf(k);
			if (shown?.length === this.planes.length) {
				const found = shown.findIndex((id) => {
					const { position, normal } = planeOf(id);
					return Math.abs(dot(position.map((v, axis) => v - wanted[axis]), normal)) < .001;
				});
				if (found >= 0) imageIndex = found;
			}
			cornerstone().utilities.jumpToSlice(viewport.element, { imageIndex });
		}
	};
	// src/model/look.ts
	var LOOK$1 = {
		opacity: .4,
		outline: 2,
		hidden: [],
		locked: [],
		colours: {}
	};
	var NAME = "fewsam.look";
	/** As it was kept; a structure is shown and unlocked when a page opens. */
	function kept(store) {
		try {
			const { opacity, outline, colours } = JSON.parse(store.getItem(NAME) ?? "{}");
			return {
				...LOOK$1,
				opacity: opacity ?? LOOK$1.opacity,
				outline: outline ?? LOOK$1.outline,
				colours: colours ?? {}
			};
		} catch {
			return LOOK$1;
		}
	}
	function keep(store, { opacity, outline, colours }) {
		try {
			store.setItem(NAME, JSON.stringify({
				opacity,
				outline,
				colours
			}));
		} catch {}
	}
	function colourOf(look, one) {
		return look.colours[one.id] ?? one.color;
	}
	function toggled(values, value) {
		return values.includes(value) ? values.filter((one) => one !== value) : [...values, value];
	}
	var hex = (colour) => `#${colour.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
	function unhex(text) {
		const number = Number.parseInt(text.slice(1), 16);
		return [
			number >> 16,
			number >> 8 & 255,
			number & 255
		];
	}
	// src/model/slices.ts
	var UNDO_STEPS = 100;
	var UNKNOWN = -1;
	var Slices = class {
		depth;
		size;
		base;
		submission;
		known;
		drawn = /* @__PURE__ */ new Map();
		done = [];
		undone = [];
		constructor(depth, size) {
			this.depth = depth;
			this.size = size;
			this.base = Array.from({ length: depth }, () => new Uint8Array(size));
			this.submission = new Array(depth).fill(0);
			this.known = new Array(depth);
		}
		/** What a slice shows. */
		shown(k) {
			return this.drawn.get(k)?.pixels ?? this.base[k];
		}
		/** Slices that wait to be submitted, in order. */
		get dirty() {
			return [...this.drawn.keys()].sort((a, b) => a - b);
		}
		isDirty(k) {
			return this.drawn.has(k);
		}
		/** Whether a slice is drawn, or undo or redo leads back to where it was. */
		isWorkedOn(k) {
			return this.drawn.has(k) || [...this.done, ...this.undone].some((step) => step.changes.some((one) => one.k === k));
		}
		/** The submission that a slice shows, or was drawn over. */
		seen(k) {
			return this.drawn.get(k)?.seen ?? this.submission[k];
		}
		/** The submission of each slice that shows one. */
		get submissions() {
			return Object.fromEntries(this.every((k) => this.submission[k] !== 0).map((k) => [k, this.submission[k]]));
		}
		/** The structures that a slice shows, or was drawn over; undefined where that is not known. */
		knows(k) {
			return this.drawn.has(k) ? this.drawn.get(k).knows : this.known[k];
		}
		/** Slices of which the server has another submission than the one shown or drawn over here. */
		outdated(submissions) {
			return this.every((k) => this.seen(k) !== (submissions[k] ?? 0));
		}
		/** Clean slices to be fetched again. */
		stale(submissions) {
			return this.every((k) => !this.drawn.has(k) && this.submission[k] !== (submissions[k] ?? 0));
		}
		get undoSteps() {
			return this.done.length;
		}
		get redoSteps() {
			return this.undone.length;
		}
		/** Draw by hand, as one step; the slices that changed. A slice drawn back to what the server has is clean. */
		draw(slices, note) {
			const changes = [];
			for (const [k, pixels] of slices) {
				if (same(pixels, this.shown(k))) continue;
				const before = this.drawn.get(k) ?? null;
				changes.push({
					k,
					before,
					after: this.normal(k, {
						pixels: pixels.slice(),
						seen: this.seen(k),
						knows: this.knows(k)
					})
				});
			}
			return this.step({
				changes,
				note
			});
		}
		/** Say that a slice is right as it is shown, or with these pixels: it is to be submitted although nobody drew on it. */
		confirm(k, pixels = this.shown(k)) {
			const before = this.drawn.get(k) ?? null;
			if (before && same(pixels, before.pixels)) return [];
			return this.step({ changes: [{
				k,
				before,
				after: {
					pixels: pixels.slice(),
					seen: this.seen(k),
					confirmed: true,
					knows: this.knows(k)
				}
			}] });
		}
		/** Whether a slice waits to be submitted because a person said that it is right, or what is not on it. */
		isConfirmed(k) {
			return this.drawn.get(k)?.confirmed === true;
		}
		/** Give up what is drawn on slices, as one step: they show what the server has. */
		discard(slices) {
			const changes = slices.filter((k) => this.drawn.has(k)).map((k) => ({
				k,
				before: {
					pixels: this.drawn.get(k).pixels,
					seen: this.submission[k],
					knows: this.known[k]
				},
				after: null
			}));
			return this.step({ changes });
		}
		/** The slices that changed, and the note as it was before the step; null where there is nothing to undo. */
		undo() {
			const step = this.done.pop();
			if (!step) return null;
			this.undone.push(step);
			return {
				changed: this.restore(step.changes.map(({ k, before }) => [k, before])),
				note: step.note?.before
			};
		}
		redo() {
			const step = this.undone.pop();
			if (!step) return null;
			this.done.push(step);
			return {
				changed: this.restore(step.changes.map(({ k, after }) => [k, after])),
				note: step.note?.after
			};
		}
		/** Take what the server has of all slices; drawn ones stay as drawn. The slices that look different now. */
		receive(voxels, submissions, known) {
			if (voxels.length !== this.depth * this.size) throw new Error("The answer does not fit this series; reload the page.");
			const changed = [];
			for (let k = 0; k < this.depth; k++) {
				const part = voxels.subarray(k * this.size, (k + 1) * this.size);
				if (!this.drawn.has(k) && !same(part, this.base[k])) changed.push(k);
				this.base[k] = part.slice();
				this.submission[k] = submissions[k] ?? 0;
				this.known[k] = known;
			}
			return changed;
		}
		/** Put a draft in place: drawn, and no step of undo. */
		adopt(k, draft) {
			this.drawn.set(k, {
				...draft,
				pixels: draft.pixels.slice()
			});
		}
		/** What is drawn, as it is sent. */
		outgoing() {
			return new Map(this.dirty.map((k) => [k, {
				...this.drawn.get(k),
				pixels: this.shown(k).slice()
			}]));
		}
		/** The server has taken what was sent. What was drawn on since is still to be submitted.
		*
		* ``uncertain``: slices of which it took something else than was sent; they are fetched again.
		*/
		submitted(sent, submissions, uncertain = []) {
			for (const [k, { pixels, knows, says = [] }] of sent) {
				const more = (list) => list && [...list, ...says];
				const former = this.base[k];
				this.base[k] = pixels.slice();
				this.submission[k] = uncertain.includes(k) ? UNKNOWN : submissions[k] ?? 0;
				this.known[k] = more(knows);
				const seen = this.submission[k];
				const kept = (state) => ({
					pixels: state?.pixels ?? former,
					seen,
					knows: more(state ? state.knows : knows)
				});
				for (const change of [...this.done, ...this.undone].flatMap((step) => step.changes).filter((one) => one.k === k)) {
					change.before = kept(change.before);
					change.after = kept(change.after);
				}
				const now = this.drawn.get(k);
				if (!now || same(now.pixels, pixels)) this.drawn.delete(k);
				else this.drawn.set(k, {
					pixels: now.pixels,
					seen,
					knows: more(now.knows)
				});
			}
		}
		/** Voxels of all slices as they are shown, slice after slice. */
		all() {
			const voxels = new Uint8Array(this.depth * this.size);
			for (let k = 0; k < this.depth; k++) voxels.set(this.shown(k), k * this.size);
			return voxels;
		}
		step(step) {
			if (!step.changes.length && !step.note) return [];
			this.done.push(step);
			if (this.done.length > UNDO_STEPS) this.done.shift();
			this.undone = [];
			return this.restore(step.changes.map(({ k, after }) => [k, after]));
		}
		restore(states) {
			return states.flatMap(([k, state]) => {
				const before = this.shown(k);
				const now = state && this.normal(k, state);
				if (now) this.drawn.set(k, now);
				else this.drawn.delete(k);
				return same(before, this.shown(k)) ? [] : [k];
			});
		}
		/** A drawing that is what the server has is none, unless a person has confirmed it. */
		normal(k, state) {
			return same(state.pixels, this.base[k]) && !state.confirmed ? null : state;
		}
		every(wanted) {
			return this.base.flatMap((_, k) => wanted(k) ? [k] : []);
		}
	};
	function same(a, b) {
		for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
		return a.length === b.length;
	}
	// src/model/drafts.ts
	/** What is drawn and not submitted, kept in the browser: neither a reload nor another window on the same series loses it.
	*
	* Each page has drafts of its own. Those of a page that was closed, or that has not been heard of for a while, are
	* taken over by the next page on the series. A draft says by identity and name what its voxel values mean.
	*/
	/** The drafts that were put back last under each name: what an earlier session still has to say is older. */
	var owners = /* @__PURE__ */ new WeakMap();
	var SILENT = 15e4;
	var Drafts = class {
		store;
		now;
		prefix;
		own;
		image;
		/** Slices of drafts that stay in the store: the series has other slices by now, and theirs may be other places. */
		misfits = 0;
		looked = 0;
		constructor(store, series, page, now = Date.now) {
			this.store = store;
			this.now = now;
			this.prefix = `fewsam.draft|${series}|`;
			this.own = this.prefix + page;
		}
		/** The version of the image that is drawn on. A page that opens another one does not write over what it kept before. */
		of(image) {
			if (image && !this.image) this.own += `|${image}`;
			this.image = image;
		}
		/** Keep what is drawn; false where the store is full, and submitting is the way to keep it. */
		keep(slices, structures, closing = false) {
			if ((owners.get(this.store)?.get(this.own) ?? this) !== this) return true;
			const used = /* @__PURE__ */ new Set();
			const draft = {
				alive: closing ? 0 : this.now(),
				depth: slices.depth,
				...this.image && { image: this.image },
				slices: {}
			};
			for (const [k, { pixels, seen, confirmed, knows }] of slices.outgoing()) {
				const runs = pack(pixels);
				for (let i = 0; i < runs.length; i += 2) used.add(runs[i]);
				draft.slices[k] = {
					seen,
					runs,
					...confirmed && { confirmed },
					...knows && { knows }
				};
			}
			draft.key = structures.key(used);
			try {
				if (slices.dirty.length) this.store.setItem(this.own, JSON.stringify(draft));
				else this.store.removeItem(this.own);
			} catch {
				return false;
			}
			return true;
		}
		/**
		* Put back the drafts of pages that have gone silent since the last look; the slices put back. Those of a page that was
		* closed are left: it may be loading again, and what was drawn there would go to another window.
		*/
		look(slices, structures) {
			const slept = this.now() - this.looked >= SILENT;
			this.looked = this.now();
			return slept ? [] : this.restore(slices, structures, false);
		}
		/** Put back the drafts of pages that are gone, but for slices that are worked on here; the slices put back. */
		restore(slices, structures, closed = true) {
			owners.set(this.store, (owners.get(this.store) ?? /* @__PURE__ */ new Map()).set(this.own, this));
			const restored = [];
			const taken = [];
			this.misfits = 0;
			this.looked = this.now();
			for (const name of this.names()) {
				const draft = read(this.store.getItem(name));
				if (!draft || name !== this.own && this.now() - draft.alive < SILENT) continue;
				if (!closed && draft.alive === 0) continue;
				const wanted = Object.keys(draft.slices).map(Number);
				if (draft.image && this.image && draft.image !== this.image || (draft.depth ?? slices.depth) !== slices.depth) {
					this.misfits += wanted.length;
					continue;
				}
				if (wanted.some((k) => slices.isWorkedOn(k))) continue;
				const table = draft.key ? meanings(draft.key, structures) : null;
				const entries = wanted.map((k) => ({
					k,
					one: draft.slices[k],
					pixels: unpack(draft.slices[k]?.runs ?? [], slices.size)
				}));
				if (entries.some(({ k, pixels }) => !pixels || !(k < slices.depth))) continue;
				for (const { k, one, pixels } of entries) {
					const here = table ? pixels.map((value) => table[value]) : pixels;
					if (slices.seen(k) && same(here, slices.shown(k))) continue;
					slices.adopt(k, {
						pixels: here,
						seen: one.seen,
						confirmed: one.confirmed,
						knows: one.knows
					});
					restored.push(k);
				}
				taken.push(name);
			}
			if (taken.length && this.keep(slices, structures)) taken.filter((name) => name !== this.own).forEach((name) => this.store.removeItem(name));
			return restored.sort((a, b) => a - b);
		}
		names() {
			const names = Array.from({ length: this.store.length }, (_, n) => this.store.key(n) ?? "");
			const others = names.filter((name) => name.startsWith(this.prefix) && name !== this.own).sort();
			return names.includes(this.own) ? [this.own, ...others] : others;
		}
	};
	function meanings(key, structures) {
		const table = /* @__PURE__ */ new Uint8Array(256);
		for (const one of key) table[one.value] = structures.valueFor(one);
		return table;
	}
	function read(text) {
		try {
			const draft = JSON.parse(text ?? "");
			return draft?.slices ? draft : null;
		} catch {
			return null;
		}
	}
	function pack(values) {
		const runs = [];
		for (let i = 0; i < values.length;) {
			let end = i + 1;
			while (end < values.length && values[end] === values[i]) end++;
			runs.push(values[i], end - i);
			i = end;
		}
		return runs;
	}
	function unpack(runs, length) {
		const values = new Uint8Array(length);
		let at = 0;
		for (let i = 0; i < runs.length; i += 2) {
			values.fill(runs[i], at, at + runs[i + 1]);
			at += runs[i + 1];
		}
		return at === length ? values : null;
	}
	// src/model/session.ts
	/** The work of one window on one series: what it shows, what it sends, what it keeps. Knows neither DOM nor viewer. */
	var Session = class {
		series;
		structures;
		slices;
		points = [];
		drafts;
		/** Until it is true, drawings cannot be told from labels, and nothing is kept: drafts are still to be put back. */
		opened = false;
		/** The version of the image that is drawn on. */
		image;
		/** Whether the browser keeps what is drawn: false where its store is full. */
		kept = true;
		constructor(series, structures, depth, size, store, page, now = Date.now) {
			this.series = series;
			this.structures = structures;
			this.slices = new Slices(depth, size);
			this.drafts = new Drafts(store, series, `${page}|${depth}`, now);
		}
		/** Take what the server has, and the drafts that this browser kept; the slices put back from drafts. */
		open(voxels, head) {
			this.image = head.content_hash;
			this.drafts.of(this.image);
			this.receive(voxels, head);
			this.opened = true;
			return this.drafts.restore(this.slices, this.structures);
		}
		/** Put back the drafts of pages that have gone silent meanwhile: they crashed; the slices put back. */
		putBack() {
			return this.drafts.look(this.slices, this.structures);
		}
		/** Slices of drafts that were not put back, since the series has other slices by now. */
		get misfits() {
			return this.drafts.misfits;
		}
		/** Take what another session on the series has drawn, where the browser could not keep it; the slices taken. */
		takeOver(former) {
			if (former.image !== this.image) return [];
			const drawn = former.slices.outgoing();
			for (const [k, one] of drawn) this.slices.adopt(k, one);
			this.keep();
			return [...drawn.keys()];
		}
		/** Take what the server has: labels of others, an answer of the model. No step of undo; drawn slices stay.
		*
		* Raises:
		*     Error: it is of another version of the image.
		*/
		receive(voxels, head) {
			if (this.image && head.content_hash && head.content_hash !== this.image) throw new Error("The series has changed since it was opened here; reload the page.");
			const known = head.structures.flatMap((one) => one.id ?? []);
			return this.slices.receive(this.structures.fromServer(voxels, head.structures), head.submissions, known);
		}
		/** One stroke, or whatever else changed pixels by hand. */
		draw(slices) {
			return this.keeping(this.slices.draw(slices));
		}
		/** A slice as clicked points changed it: one step with the points. */
		correct(k, pixels, points) {
			const note = {
				before: this.points,
				after: points
			};
			this.points = points;
			return this.keeping(this.slices.draw(/* @__PURE__ */ new Map([[k, pixels]]), note));
		}
		/** Slices as prompts changed them: one step with the prompts. */
		correctAll(slices, points) {
			const note = {
				before: this.points,
				after: points
			};
			this.points = points;
			return this.keeping(this.slices.draw(slices, note));
		}
		/** The slice is right as it is shown. */
		confirm(k) {
			return this.keeping(this.slices.confirm(k));
		}
		/** The structure of this voxel value is not on the slice. */
		absent(k, value) {
			const { id } = this.structures.of(value) ?? {};
			const values = this.structures.known.filter((one) => one.value === value || id && one.id === id).map((one) => one.value);
			return this.keeping(this.slices.confirm(k, this.slices.shown(k).map((pixel) => values.includes(pixel) ? 0 : pixel)));
		}
		discard(slices) {
			return this.keeping(this.slices.discard(slices));
		}
		undo() {
			return this.stepped(this.slices.undo());
		}
		redo() {
			return this.stepped(this.slices.redo());
		}
		/** What is drawn, to be submitted; null where nothing is.
		*
		* Raises:
		*     Error: a segment that is drawn has no structure on the server.
		*/
		submission() {
			const sent = this.slices.outgoing();
			if (!sent.size) return null;
			const used = new Set([...sent.values()].flatMap(({ pixels }) => [...new Set(pixels)]));
			const nameless = this.structures.key(used).filter((one) => !one.id);
			if (nameless.length) {
				const which = nameless.map((one) => `"${one.name}"`).join(", ");
				throw new Error(`${which} has no structure on the server: name it in the list of structures first, then submit.`);
			}
			const all = [...used, ...this.structures.all.filter((one) => one.id).map((one) => one.value)];
			const label_info = this.structures.key(all).map(({ id, name, value }) => ({
				id,
				name,
				idx: value
			}));
			const drawn = Object.fromEntries([...sent].map(([k, { seen }]) => [k, seen]));
			const voxels = new Uint8Array(this.slices.depth * this.slices.size);
			for (const [k, { pixels }] of sent) voxels.set(pixels, k * this.slices.size);
			const empty = [...sent].filter(([, { pixels, confirmed }]) => confirmed && !pixels.some(Boolean)).map(([k]) => k);
			const silent = {};
			for (const [k, one] of sent) {
				one.says = label_info.filter(({ idx }) => one.pixels.includes(idx)).map(({ id }) => id);
				const unsaid = one.knows ? label_info.map(({ id }) => id).filter((id) => !one.knows.includes(id)) : [];
				if (unsaid.length) silent[k] = [...new Set(unsaid)];
			}
			return {
				voxels,
				content_hash: this.image,
				label_info,
				drawn,
				empty,
				silent,
				sent
			};
		}
		submitted(submission, submissions, uncertain = []) {
			const more = Object.keys(submission.silent).map(Number);
			this.slices.submitted(submission.sent, submissions, [...uncertain, ...more]);
			this.points = [];
			this.keep();
		}
		/** The server's list of structures. Whether names or numbers changed. */
		rename(server) {
			return this.structures.update(server);
		}
		/** Keep what is drawn in the browser, and say that this window is open, or is closing. */
		keep(closing = false) {
			if (!this.opened) return this.kept;
			return this.kept = this.drafts.keep(this.slices, this.structures, closing);
		}
		keeping(changed) {
			this.keep();
			return changed;
		}
		stepped(step) {
			if (!step) return null;
			if (step.note) this.points = step.note;
			return this.keeping(step.changed);
		}
	};
	// src/viewer/labelmap.ts
	/** The labelmap of one series in the viewer: its voxels follow the session, and strokes in it become the session's. */
	var RECOVERIES = 20;
	var RECOVERY_PAUSE = 400;
	/** The browser's name for this page: drafts of each page are kept apart. */
	var page = Math.random().toString(36).slice(2, 10);
	var Labelmap = class Labelmap {
		series;
		viewportId;
		displaySet;
		structures;
		unfollowed;
		segmentationId;
		displaySetId;
		session;
		geometry;
		onStroke = () => {};
		arrays = [];
		look = LOOK$1;
		timer = 0;
		pressed = false;
		lost = false;
		ended = false;
		unsubscribe = [];
		constructor(series, viewportId, displaySet, structures, unfollowed) {
			this.series = series;
			this.viewportId = viewportId;
			this.displaySet = displaySet;
			this.structures = structures;
			this.unfollowed = unfollowed;
			this.displaySetId = displaySet.displaySetInstanceUID;
			this.segmentationId = idOf(this.displaySetId);
		}
		static async open(viewportId, displaySet, structures, unfollowed) {
			const map = new Labelmap(displaySet.SeriesInstanceUID, viewportId, displaySet, structures, unfollowed);
			map.listen();
			try {
				await map.create();
			} catch (error) {
				map.close();
				throw error;
			}
			const [depth, size] = [map.arrays.length, map.arrays[0]?.length ?? 0];
			map.session = new Session(map.series, structures, depth, size, localStorage, page);
			return map;
		}
		/** Open the session and show it. What was drawn since the series was left last is its first stroke; slices of drafts. */
		follow(voxels, head) {
			const drafts = this.session.open(voxels, head);
			const former = this.unfollowed.of(this.segmentationId);
			const more = former && !former.kept ? this.session.takeOver(former) : [];
			this.takeStrokes();
			return [.../* @__PURE__ */ new Set([...drafts, ...more])];
		}
		/** The labelmap is no longer followed; what is drawn in it from here on is found when it is followed again. */
		leave() {
			this.commit();
			if (this.session.opened && !this.lost && segmentationOf(this.segmentationId)) this.unfollowed.leave(this.segmentationId, this.session);
			this.session.keep(true);
			this.close();
		}
		/**
		* Keep in the browser what was drawn in labelmaps since their series were left, but for the one that is open again;
		* false where its store is full.
		*/
		static keepStrokes(unfollowed, open) {
			return unfollowed.sessions(open?.segmentationId).map(([id, former]) => {
				if (segmentationOf(id)) former.draw(unfollowed.drawn(id, voxelsOf(id).map((one) => one.array), (k) => former.slices.shown(k)));
				return former.keep(true);
			}).every(Boolean);
		}
		takeStrokes() {
			const { slices } = this.session;
			this.session.draw(this.unfollowed.drawn(this.segmentationId, this.arrays, (k) => slices.shown(k)));
			this.render(this.arrays.map((_, k) => k));
		}
		/** Whether the viewer still has the labelmap and shows it; its own list of segmentations has a Delete. */
		get intact() {
			return Boolean(segmentationOf(this.segmentationId)?.representationData?.Labelmap) && this.isShown !== false;
		}
		/** Whether the viewport shows it; undefined where the viewer does not tell. */
		get isShown() {
			const shown = host.services.segmentationService.getSegmentationRepresentations?.(this.viewportId);
			const type = tools().Enums.SegmentationRepresentations.Labelmap;
			return shown?.some((one) => one.segmentationId === this.segmentationId && one.type === type);
		}
		/** Make it anew after the viewer lost it, with what was drawn: again while the viewer is still loading the viewport. */
		async recover() {
			for (let left = RECOVERIES;; left--) try {
				return await this.restore();
			} catch (error) {
				if (this.ended || left <= 1) throw error;
				await new Promise((done) => window.setTimeout(done, RECOVERY_PAUSE));
			}
		}
		async restore() {
			this.lost ||= !segmentationOf(this.segmentationId);
			if (!this.lost) return this.show();
			await this.create();
			if (this.ended) return;
			this.lost = false;
			this.takeStrokes();
		}
		/** Show it in the viewport, also again after the viewport changed, and have tools draw in it. */
		async show() {
			const service = host.services.segmentationService;
			const type = tools().Enums.SegmentationRepresentations.Labelmap;
			try {
				await service.addSegmentationRepresentation(this.viewportId, {
					segmentationId: this.segmentationId,
					type
				});
			} catch (error) {
				if (!this.isShown) throw error;
			}
			this.activate();
		}
		activate() {
			try {
				host.services.segmentationService.setActiveSegmentation?.(this.viewportId, this.segmentationId);
			} catch {}
		}
		/** Whether the viewer's tools draw in this labelmap, and not in another segmentation that was opened since. */
		get isActive() {
			const active = host.services.segmentationService.getActiveSegmentation?.(this.viewportId);
			return !active || active.segmentationId === this.segmentationId;
		}
		/** Whether each structure has its segment in the viewer, whose own list has a Delete for each. */
		get whole() {
			const segments = segmentationOf(this.segmentationId)?.segments ?? {};
			return this.structures.known.every((one) => segments[one.value]);
		}
		/** Give each structure its segment in the viewer, with name and colour. */
		segments() {
			const service = host.services.segmentationService;
			const segmentation = segmentationOf(this.segmentationId);
			if (!segmentation) return;
			for (const { name, value, color } of this.structures.known) try {
				if (!segmentation.segments[value]) service.addSegment(this.segmentationId, {
					segmentIndex: value,
					label: name,
					color: [...color, 255]
				});
				if (segmentation.segments[value].label !== name) service.setSegmentLabel(this.segmentationId, value, name);
			} catch {}
			this.dress(this.look);
		}
		/** Colours, opacity and outline; which structures are hidden, and which ones the viewer's tools leave alone. */
		dress(look) {
			this.look = look;
			const service = host.services.segmentationService;
			const { viewportId, segmentationId } = this;
			const type = tools().Enums.SegmentationRepresentations.Labelmap;
			const style = {
				renderFill: true,
				fillAlpha: look.opacity,
				renderOutline: look.outline > 0,
				outlineWidth: look.outline
			};
			try {
				service.setStyle({
					type,
					segmentationId
				}, style);
				for (const one of this.structures.all) {
					service.setSegmentColor(viewportId, segmentationId, one.value, [...colourOf(look, one), 255]);
					service.setSegmentVisibility(viewportId, segmentationId, one.value, !look.hidden.includes(one.value), type);
					service.setSegmentLocked(segmentationId, one.value, look.locked.includes(one.value));
				}
			} catch {}
		}
		/** Segments that the viewer's own button added: value and the viewer's name. */
		strangers() {
			return Object.values(segmentationOf(this.segmentationId)?.segments ?? {}).filter((one) => one && !this.structures.of(one.segmentIndex)).map((one) => ({
				value: one.segmentIndex,
				label: one.label || `Segment ${one.segmentIndex}`
			}));
		}
		choose(value) {
			if ((segmentationOf(this.segmentationId)?.segments)?.[value]) host.services.segmentationService.setActiveSegment(this.segmentationId, value);
		}
		/** The segment that the viewer's tools draw; null where there is none. */
		get chosen() {
			return Object.values(segmentationOf(this.segmentationId)?.segments ?? {}).find((one) => one?.active)?.segmentIndex ?? null;
		}
		/** Wait until no stroke is being drawn: half of one is no step, and nothing is put under it. */
		async released() {
			while (this.drawing) await new Promise((done) => window.setTimeout(done, 50));
		}
		/** Whether the mouse is down. */
		get drawing() {
			return this.pressed;
		}
		/** Take what was drawn since the last look as one step. */
		commit() {
			if (this.ended || this.lost || !this.session?.opened || !segmentationOf(this.segmentationId)) return [];
			const slices = /* @__PURE__ */ new Map();
			this.arrays.forEach((array, k) => {
				if (!same(array, this.session.slices.shown(k))) slices.set(k, array);
			});
			if (!slices.size) return [];
			const changed = this.session.draw(slices);
			if (changed.length) this.onStroke(changed);
			return changed;
		}
		/** Show what the session has of slices. */
		render(slices) {
			if (this.ended || this.lost || !slices.length) return;
			slices.forEach((k) => this.arrays[k].set(this.session.slices.shown(k)));
			const frames = slices.map((k) => this.geometry.imageOf(k));
			tools().segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(this.segmentationId, frames);
		}
		close() {
			this.ended = true;
			this.pressed = false;
			window.clearTimeout(this.timer);
			this.unsubscribe.forEach((end) => end());
		}
		async create() {
			const service = host.services.segmentationService;
			if (!segmentationOf(this.segmentationId)) {
				const segments = {};
				for (const { name, value } of this.structures.known) segments[value] = {
					segmentIndex: value,
					label: name,
					active: value === 1,
					locked: false
				};
				const options = {
					segmentationId: this.segmentationId,
					label: "fewsam",
					segments
				};
				await service.createLabelmapForDisplaySet(this.displaySet, options);
				this.unfollowed.made(this.segmentationId);
			}
			await this.show();
			this.findVoxels();
			this.segments();
		}
		findVoxels() {
			const found = voxelsOf(this.segmentationId);
			this.arrays = found.map((one) => one.array);
			const frames = found.map((one) => one.frame);
			this.geometry = new Geometry(this.viewportId, found.map((one) => one.plane), frames);
		}
		listen() {
			const later = () => {
				window.clearTimeout(this.timer);
				this.timer = window.setTimeout(() => this.pressed ? later() : this.commit(), 120);
			};
			const modified = (event) => {
				if (!event.detail?.segmentationId || event.detail.segmentationId === this.segmentationId) later();
			};
			const name = tools().Enums.Events.SEGMENTATION_DATA_MODIFIED;
			cornerstone().eventTarget.addEventListener(name, modified);
			const down = () => void (this.pressed = true);
			const up = () => {
				this.pressed = false;
				later();
			};
			const moved = (event) => {
				if (this.pressed && !event.buttons) up();
			};
			window.addEventListener("mousedown", down, true);
			window.addEventListener("mouseup", up, true);
			window.addEventListener("mousemove", moved, true);
			this.unsubscribe.push(() => {
				cornerstone().eventTarget.removeEventListener(name, modified);
				window.removeEventListener("mousedown", down, true);
				window.removeEventListener("mouseup", up, true);
				window.removeEventListener("mousemove", moved, true);
			});
		}
	};
	function idOf(displaySetInstanceUID) {
		return `fewsam-${displaySetInstanceUID}`;
	}
	/** The viewer's own voxels of a labelmap, by k, each with its place among the viewer's images. */
	function voxelsOf(segmentationId) {
		return segmentationOf(segmentationId).representationData.Labelmap.imageIds.map((id, frame) => {
			const image = cornerstone().cache.getImage(id);
			return {
				frame,
				plane: planeOf(image.referencedImageId ?? id),
				array: image.voxelManager.getScalarData()
			};
		}).sort((a, b) => dot(a.plane.position, a.plane.normal) - dot(b.plane.position, a.plane.normal));
	}
	function segmentationOf(id) {
		return tools().segmentation.state.getSegmentation(id);
	}
	// src/viewer/unfollowed.ts
	var Unfollowed = class {
		former = /* @__PURE__ */ new Map();
		/** The viewer has made a labelmap, and it is empty. */
		made(segmentationId) {
			this.former.set(segmentationId, null);
		}
		/** A labelmap is as this session has it: what it shows beyond this was drawn since. */
		leave(segmentationId, session) {
			this.former.set(segmentationId, session);
		}
		/** The session that a labelmap was left with; null where there is none. */
		of(segmentationId) {
			return this.former.get(segmentationId) ?? null;
		}
		/** The sessions that labelmaps were left with, by segmentation, but for ``except``. */
		sessions(except = "") {
			return [...this.former].flatMap(([id, session]) => session && id !== except ? [[id, session]] : []);
		}
		/** The slices that were drawn on since: what ``shown`` has of them now, with the strokes on it. */
		drawn(segmentationId, slices, shown) {
			const former = this.former.get(segmentationId);
			const found = /* @__PURE__ */ new Map();
			if (former === void 0) return found;
			slices.forEach((now, k) => {
				const before = former?.slices.shown(k) ?? new Uint8Array(now.length);
				if (!same(before, now)) found.set(k, shown(k).map((value, at) => now[at] === before[at] ? value : now[at]));
			});
			return found;
		}
	};
	// src/acts/opening.ts
	/** The labelmap of whatever series the person looks at: opened, kept in step with the server, and left. */
	var Opening = class {
		desk;
		on;
		now = "";
		waited = 0;
		closed = false;
		unfollowed = new Unfollowed();
		ids = "";
		constructor(desk, on) {
			this.desk = desk;
			this.on = on;
		}
		/** Open the series in the viewport, where it is not open already. */
		async follow() {
			const [now, { map }] = [active(), this.desk];
			const series = now?.displaySet.SeriesInstanceUID ?? "";
			if (!now && !map && ++this.waited === 4 && !this.on.nothing()) this.desk.say(`No image series is open. Double-click one in the list. The viewer marks what it cannot show with a triangle in the list on the left.`, "");
			if (!now || this.now === series + now.viewportId) return;
			if (map?.series === series && map.viewportId === now.viewportId) return;
			this.now = series + now.viewportId;
			try {
				await this.open(series, now);
			} finally {
				this.now = "";
			}
		}
		/** The panel is closed: what is being opened is not. */
		close() {
			this.closed = true;
			this.leave();
			this.keep(true);
		}
		leave() {
			const { map, store } = this.desk;
			if (map) map.leave();
			else this.keep(true);
			this.on.left();
			this.desk.map = null;
			store.aside.value = "";
			store.conflict.value = {};
			store.changed.value = [];
		}
		/** Keep in the browser all that is drawn on the page, also on series that were left; false where its store is full. */
		keep(closing = false) {
			const { map } = this.desk;
			map?.commit();
			const others = Labelmap.keepStrokes(this.unfollowed, map);
			return (map?.session.keep(closing) ?? true) && others;
		}
		/** Put back what was drawn in pages that crashed, once they have been silent for a while. */
		putBack() {
			const { map } = this.desk;
			if (!map || map.drawing) return;
			map.commit();
			const back = map.session.putBack();
			if (!back.length) return;
			map.render(back);
			this.desk.say(`${capital(slicesOf(back))}: drawn here before and not submitted; put back.`, "");
		}
		/**
		* Show what was submitted from elsewhere, but on slices that are drawn on here. A structure that was deleted is shown
		* no longer, and one that came back with its labels: where that fails, it is tried again at the next look.
		*/
		async catchUp() {
			const [{ map, store }, image, { ids }] = [
				this.desk,
				this.desk.store.server.value?.image,
				this.desk.structures
			];
			if (!map || map.drawing) return;
			map.commit();
			const stale = image?.id === map.series ? map.session.slices.stale(image.submissions) : [];
			const idle = !store.busy.value;
			if (!stale.length && ids === this.ids || !await this.desk.fetch()) return;
			this.ids = ids;
			if (stale.length && idle && !store.busy.value) this.desk.say(`${capital(slicesOf(stale))}: submitted from elsewhere, and shown here now.`, "");
		}
		/** Whether a series is still to be opened: nobody closed the panel meanwhile, or went on to another series. */
		wants(series, viewportId) {
			return !this.closed && isShown(series, viewportId);
		}
		async open(series, { viewportId, displaySet }) {
			const { structures, store } = this.desk;
			this.leave();
			const state = await getState(series);
			if (!this.wants(series, viewportId)) return;
			store.server.value = state;
			structures.update(state.structures);
			const { ids } = structures;
			const known = await getLabelmap(series);
			if (!this.wants(series, viewportId)) return;
			const map = await Labelmap.open(viewportId, displaySet, structures, this.unfollowed);
			let drafts;
			try {
				await map.released();
				if (!this.wants(series, viewportId)) return map.close();
				drafts = map.follow(known.voxels, known.head);
			} catch (error) {
				map.close();
				throw error;
			}
			map.onStroke = () => {
				if (store.message.value.text === "Nothing is drawn here: this view cuts through the slices. A label belongs to a whole slice: draw in the viewport that shows the slices as they were acquired.") this.desk.say("", "");
				this.desk.show();
			};
			this.desk.map = map;
			this.ids = ids;
			store.answered.value = known.head.served;
			numbering.of = (k) => map.geometry.placeOf(k) + 1;
			const chosen = store.chosen.value;
			this.desk.choose(structures.of(chosen) ? chosen : structures.all[0]?.value ?? 1);
			this.desk.say(greeting(known.head, {
				back: drafts.length,
				misfits: map.session.misfits
			}, state), "");
			this.on.opened(map);
		}
	};
	// src/model/points.ts
	/** The slice with the points' change to one structure; the server gives its mask with the points, and without.
	*
	* The pixel under a point always obeys the point. ``earlier`` is the mask with the points before the last one, where they
	* were answered here: the last point may take back what these brought.
	*/
	function corrected(slice, planes, value, points, width, earlier) {
		const result = slice.slice();
		const drawn = slice.includes(value);
		for (let at = 0; at < slice.length; at++) {
			const [now, before] = [planes[at], earlier ? earlier[at] : planes[slice.length + at]];
			if (drawn && now === before) continue;
			if (now) result[at] = value;
			else if (slice[at] === value) result[at] = 0;
		}
		for (const { i, j, include } of points) {
			const at = j * width + i;
			if (include) result[at] = value;
			else if (result[at] === value) result[at] = 0;
		}
		return result;
	}
	// src/acts/pointing.ts
	/** Clicked points: each is answered in its turn, also one that was made while another is computed. */
	var Pointing = class {
		desk;
		prompting;
		queue = Promise.resolve();
		answered = /* @__PURE__ */ new Map();
		constructor(desk, prompting) {
			this.desk = desk;
			this.prompting = prompting;
		}
		point({ i: x, j: y, k }) {
			const [i, j] = [Math.round(x), Math.round(y)];
			const { store, structures } = this.desk;
			const of = onScreen(this.desk);
			if (!of) return;
			const structure = structures.of(store.chosen.value);
			const include = store.tool.value === "include";
			if (!structure) return this.desk.say("Choose a structure first.", "bad");
			const { value, id, name } = structure;
			if (store.look.value.locked.includes(value)) return this.desk.say(`${name} is locked.`, "bad");
			if (this.prompting.takes(value)) return this.prompting.add({
				i,
				j,
				k,
				include,
				value
			});
			this.queue = this.queue.then(() => this.desk.work("Correcting", async (map) => {
				map.commit();
				const session = map.session;
				const all = [...session.points.filter((one) => one.i !== i || one.j !== j || one.k !== k || one.value !== value), {
					i,
					j,
					k,
					include,
					value
				}];
				const points = all.filter((one) => one.k === k && one.value === value);
				const side = (wanted) => points.filter((one) => one.include === wanted).map((one) => [one.i, one.j]);
				const { voxels } = await correct({
					image: map.series,
					slice: k,
					label: name,
					id,
					include: side(true),
					exclude: side(false)
				});
				await map.released();
				if (left(this.desk, map)) return;
				map.commit();
				if (all.length === 1) this.answered.clear();
				const earlier = this.answered.get(named$1(map.series, session.points, k, value));
				this.answered.set(named$1(map.series, all, k, value), voxels.slice(0, voxels.length / 2));
				const [shown, width] = [session.slices.shown(k), map.geometry.planes[k].columns];
				const pixels = sparing(corrected(shown, voxels, value, points, width, earlier), shown, store.look.value.locked);
				map.render(session.correct(k, pixels, all));
				this.desk.say(`${name}: ${count(points.length, "point")} on ${slicesOf([k])}. Submit when it is right.`, "");
			}, of));
		}
		clear() {
			if (this.desk.map) this.desk.map.session.points = [];
			this.desk.show();
		}
	};
	/** The points of one structure on one slice. */
	function named$1(series, points, k, value) {
		return JSON.stringify([
			series,
			k,
			value,
			points.filter((one) => one.k === k && one.value === value)
		]);
	}
	// src/acts/polling.ts
	var Polling = class {
		desk;
		steps;
		lost = false;
		timer = 0;
		closed = false;
		constructor(desk, steps) {
			this.desk = desk;
			this.steps = steps;
		}
		async look() {
			const { store } = this.desk;
			try {
				for (const step of this.steps) {
					await step();
					if (this.closed) return;
				}
				this.desk.map?.session.keep();
				if (this.lost) this.desk.say("The server is back.", "good");
				this.lost = false;
			} catch (error) {
				if (this.closed) return;
				this.lost = true;
				this.desk.say(error.message, "bad");
			}
			this.timer = window.setTimeout(() => void this.look(), store.training.value ? 800 : 2500);
		}
		close() {
			this.closed = true;
			window.clearTimeout(this.timer);
		}
	};
	// src/model/prompts.ts
	/** The prompts as the server takes them. */
	function asked(points) {
		return points.map(({ i, j, k, include, kind, line }) => ({
			kind: kind ?? "point",
			slice: k,
			include,
			points: line ?? [[i, j]]
		}));
	}
	/** Planes of the slices that the head of an answer names. */
	function planes(slices, voxels) {
		const size = slices.length ? voxels.length / slices.length : 0;
		return new Map(slices.map((k, n) => [k, voxels.subarray(n * size, (n + 1) * size)]));
	}
	/** A slice with the change that its prompts make now, instead of the one they made before: what was drawn since stays.
	*
	* Args:
	*     slice: as it is shown.
	*     base: as it was before the first prompt.
	*/
	function reapplied(slice, base, before, now, value) {
		const result = slice.slice();
		for (let at = 0; at < slice.length; at++) {
			const [was, is] = [before?.[at] ?? 0, now?.[at] ?? 0];
			if (was === is) continue;
			if (is === 1) result[at] = value;
			else if (is === 2) result[at] = result[at] === value ? 0 : result[at];
			else if (result[at] === (was === 1 ? value : 0)) result[at] = base[at];
		}
		return result;
	}
	/** The pixels under points and scribbles obey them, whatever the server knew of what is drawn here. */
	function obeyed(slice, points, width, value) {
		const result = slice.slice();
		for (const point of points.filter((one) => one.kind !== "box")) for (const [i, j] of pixels(point.line ?? [[point.i, point.j]])) {
			const at = j * width + i;
			if (point.include) result[at] = value;
			else if (result[at] === value) result[at] = 0;
		}
		return result;
	}
	/** Pixels along a line. */
	function pixels(line) {
		const found = [line[0]];
		for (let n = 1; n < line.length; n++) {
			const [[i, j], [to, down]] = [line[n - 1], line[n]];
			const steps = Math.max(Math.abs(to - i), Math.abs(down - j));
			for (let s = 1; s <= steps; s++) found.push([Math.round(i + (to - i) * s / steps), Math.round(j + (down - j) * s / steps)]);
		}
		return found;
	}
	// src/acts/prompting.ts
	/** Scribbles and boxes, and points that are propagated to other slices: the server answers for all prompts of a structure. */
	var Prompting = class {
		desk;
		queue = Promise.resolve();
		base = /* @__PURE__ */ new Map();
		known = /* @__PURE__ */ new Map();
		constructor(desk) {
			this.desk = desk;
		}
		/** A scribble or a box was drawn. */
		stroke(kind, places, k, exclude) {
			const { store } = this.desk;
			const map = onScreen(this.desk);
			if (!map) return;
			const { columns, rows } = map.geometry.planes[k];
			const inside = ([i, j]) => [clamp(Math.round(i), columns), clamp(Math.round(j), rows)];
			const line = places.map(inside);
			this.add({
				i: line[0][0],
				j: line[0][1],
				k,
				include: !exclude,
				value: store.chosen.value,
				kind,
				line
			});
		}
		/** Whether a point is to be answered here: it is propagated, or other prompts of its structure are. */
		takes(value) {
			const points = this.desk.map?.session.points ?? [];
			return this.desk.store.propagate.value || points.some((one) => one.value === value && one.kind !== void 0);
		}
		add(prompt) {
			const { value } = prompt;
			const { map: of, structures } = this.desk;
			const structure = structures.of(value);
			if (!structure) return this.desk.say("Choose a structure first.", "bad");
			if (this.desk.store.look.value.locked.includes(value)) return this.desk.say(`${structure.name} is locked.`, "bad");
			this.queue = this.queue.then(() => this.desk.work("Correcting", async (map) => {
				map.commit();
				const { session } = map;
				const same = (one) => !one.kind && !prompt.kind && one.i === prompt.i && one.j === prompt.j && one.k === prompt.k;
				const all = [...session.points.filter((one) => one.value !== value || !same(one)), prompt];
				const mine = all.filter((one) => one.value === value);
				if (mine.length === 1) this.base.set(value, /* @__PURE__ */ new Map());
				if (all.length === 1) this.known.clear();
				const before = this.known.get(named(session.points, value)) ?? /* @__PURE__ */ new Map();
				const keep = session.slices.dirty.filter((k) => !before.has(k));
				const { head, voxels } = await prompts({
					image: map.series,
					label: structure.name,
					id: structure.id,
					prompts: asked(mine),
					propagate: this.desk.store.propagate.value,
					keep
				});
				await map.released();
				if (left(this.desk, map)) return;
				map.commit();
				const now = planes(head.slices, voxels);
				this.known.set(named(all, value), now);
				map.render(session.correctAll(this.changed(map, before, now, mine, value), all));
				const others = now.size - (now.has(prompt.k) ? 1 : 0);
				const propagated = others > 0 ? `, and ${count(others, "other slice")} changed` : "";
				const said = `${structure.name}: ${count(mine.length, "prompt")} on ${slicesOf([...new Set(mine.map((one) => one.k))])}`;
				this.desk.say(`${said}${propagated}. Submit when it is right; Undo takes the last one back.`, "");
			}, of));
		}
		changed(map, before, now, mine, value) {
			const { slices } = map.session;
			const { locked } = this.desk.store.look.value;
			const [found, base] = [/* @__PURE__ */ new Map(), this.base.get(value) ?? /* @__PURE__ */ new Map()];
			const width = map.geometry.planes[0].columns;
			for (const k of /* @__PURE__ */ new Set([
				...before.keys(),
				...now.keys(),
				...mine.map((one) => one.k)
			])) {
				const shown = slices.shown(k);
				if (!base.has(k)) base.set(k, shown.slice());
				const pixels = reapplied(shown, base.get(k), before.get(k), now.get(k), value);
				found.set(k, sparing(obeyed(pixels, mine.filter((one) => one.k === k), width, value), shown, locked));
			}
			return found;
		}
	};
	function named(points, value) {
		return JSON.stringify(points.filter((one) => one.value === value));
	}
	function clamp(n, size) {
		return Math.max(0, Math.min(size - 1, n));
	}
	// src/acts/submitting.ts
	/** Submit what is drawn, and the questions of the server about it. */
	var Submitting = class {
		desk;
		constructor(desk) {
			this.desk = desk;
		}
		/** ``both``: what somebody else submitted meanwhile stays the label, with ours beside it. */
		async submit(empty = [], both = false, of = this.desk.map) {
			const { store } = this.desk;
			await this.desk.work("Submitting", async (map) => {
				map.commit();
				const submission = map.session.submission();
				if (!submission) return this.desk.say("Nothing to submit: no slice was changed by hand.", "bad");
				let answer;
				try {
					answer = await submit(map.series, submission, {
						asked: this.open(submission.drawn),
						both,
						empty
					});
				} catch (error) {
					if (!(error instanceof Refusal) || error.status !== 409) throw error;
					if (!error.body.empty && !error.body.slices) throw error;
					if (this.desk.map !== map) return this.desk.say(untaken(map.session.kept), "bad");
					return this.asked(map, error.body, both, submission.drawn);
				}
				if (this.desk.map === map) store.conflict.value = {};
				store.answered.value = false;
				map.commit();
				map.session.submitted(submission, answer.submissions, [
					...answer.kept,
					...answer.untouched,
					...answer.beside ?? []
				]);
				this.desk.say(receipt(answer), answer.kept.length ? "" : "good");
			}, of);
		}
		/** Give way to what somebody else submitted of the slices in question; undo brings ours back. */
		async theirs() {
			const { conflict } = this.desk.store;
			await this.desk.work("Fetching", async (map) => {
				const slices = Object.keys(conflict.value).map(Number).filter((k) => map.session.slices.isDirty(k));
				if (!await this.desk.fetch()) return;
				map.render(map.session.discard(slices));
				conflict.value = {};
				this.desk.say(`${capital(slicesOf(slices))}: as it was submitted from elsewhere. Undo brings yours back.`, "");
			});
		}
		/** The server asks before it takes a submission; ``both``: what the person has answered to a question before this one. */
		asked(map, body, both, drawn) {
			if (body.empty?.length) {
				const empty = body.empty;
				return this.desk.say(emptied(empty), "asks", [{
					label: "Nothing is there",
					act: () => void this.submit(empty, both, map)
				}, {
					label: "Put the labels back",
					act: () => this.putBack(map, empty)
				}]);
			}
			const { conflict: conflict$1 } = this.desk.store;
			conflict$1.value = {
				...this.open(drawn),
				...body.submissions
			};
			const slices = Object.keys(conflict$1.value).map(Number);
			this.desk.say(conflict(slices, slices.length === body.slices?.length ? body.who ?? "" : ""), "bad");
		}
		/** What the server has asked about, but for slices that are no longer drawn, or are drawn over that label by now. */
		open(drawn) {
			const asked = Object.entries(this.desk.store.conflict.value);
			return Object.fromEntries(asked.filter(([k, submission]) => k in drawn && drawn[k] !== submission));
		}
		putBack(map, slices) {
			if (left(this.desk, map)) return;
			map.render(map.session.discard(slices));
			this.desk.say(`${capital(slicesOf(slices))}: as submitted. Undo brings your change back.`, "");
			this.desk.show();
		}
	};
	// src/acts/tracing.ts
	/** The history of the slice on the screen: who labelled it when, as what; a former label put back, the present one taken back. */
	var Tracing = class {
		desk;
		seen = "";
		constructor(desk) {
			this.desk = desk;
		}
		/** Look the slice on the screen up, if the history is unfolded and something changed. */
		async look() {
			const map = this.desk.map;
			if (!map || !this.desk.store.tracing.value) return;
			const k = map.geometry.current();
			const now = `${map.series} ${k} ${map.session.slices.seen(k)} ${map.session.slices.undoSteps}`;
			if (now === this.seen) return;
			this.desk.store.history.value = await history(map.series, k);
			this.seen = now;
		}
		/** Show a former label as if it had been drawn: submitting it makes it the label, undo takes it away. */
		async restore(shot$1) {
			await this.desk.work("Fetching", async (map) => {
				const { head, voxels } = await shot(map.series, shot$1.shot);
				await map.released();
				if (left(this.desk, map)) return;
				map.commit();
				const here = map.session.structures.fromServer(voxels, head.structures);
				map.render(map.session.draw(/* @__PURE__ */ new Map([[head.slice, here]])));
				this.desk.say(`${capital(slicesOf([head.slice]))} as ${shot$1.annotator || "it"} had it. Submit makes it the label again.`, "");
			});
		}
		/** Take back what was said of the slice on the screen. */
		async unlabel(shot) {
			const of = onScreen(this.desk);
			if (!of) return;
			const k = of.geometry.current();
			await this.desk.work("Taking back", async (map) => {
				await unlabel(map.series, k, shot.shot);
				await this.desk.fetch();
				this.seen = "";
				this.desk.say(`${capital(slicesOf([k]))} has no label any more; the history keeps it, and Restore brings it back.`, "good");
			}, of);
		}
	};
	// src/acts/watching.ts
	/** Follow what the person does with the viewer's own buttons, and mend what that took away. */
	var FOLLOW = 400;
	var Watching = class {
		desk;
		toolbox;
		asides;
		recovering = false;
		timer;
		constructor(desk, toolbox, asides) {
			this.desk = desk;
			this.toolbox = toolbox;
			this.asides = asides;
			this.timer = window.setInterval(() => this.look(), FOLLOW);
		}
		close() {
			window.clearInterval(this.timer);
		}
		look() {
			const { map, store, structures } = this.desk;
			if (!map || this.recovering) return;
			if (this.asides.look(map)) return;
			if (!map.intact) return void this.recover(map);
			if (!map.isActive) {
				map.activate();
				this.desk.say("Another segmentation was opened. What you draw goes on in the structures listed here.", "");
			}
			if (!map.whole) {
				map.segments();
				this.desk.choose(store.chosen.value);
			}
			const strangers = map.strangers();
			for (const { value, label } of strangers) structures.addUnnamed(label, value);
			if (strangers.length) this.desk.say(`${strangers[0].label} has no name yet. Name it in the list of structures; then it can be submitted.`, "bad");
			const chosen = map.chosen;
			if (chosen !== null && structures.of(chosen)) store.chosen.value = chosen;
			this.toolbox.follow(map.viewportId);
			this.desk.show();
		}
		async recover(map) {
			if (active()?.displaySet.SeriesInstanceUID !== map.series) return;
			this.recovering = true;
			try {
				await map.recover();
				this.desk.choose(this.desk.store.chosen.value);
				this.desk.say("The viewer took the labelmap away; it is back, with what you drew.", "bad");
			} catch (error) {
				this.desk.say(`The viewer took the labelmap away: reload the page; what you drew is kept. (${error.message})`, "bad");
			} finally {
				this.recovering = false;
			}
		}
	};
	// src/acts/working.ts
	var Working = class {
		desk;
		constructor(desk) {
			this.desk = desk;
		}
		async work(what, todo, of) {
			const { busy } = this.desk.store;
			while (busy.value && what === "Correcting") await new Promise((done) => window.setTimeout(done, 50));
			if (busy.value) return;
			if (!of) return this.desk.say("Open a CT, MR or other image series first.", "bad");
			busy.value = what;
			try {
				await of.released();
				if (left(this.desk, of)) return;
				await todo(of);
				await this.desk.refresh();
			} catch (error) {
				this.desk.say(error.message, "bad");
			} finally {
				busy.value = "";
				this.desk.show();
			}
		}
	};
	// src/model/scale.ts
	var STEPS = [
		{
			from: .95,
			colour: "#00204c",
			label: "0.95 and more"
		},
		{
			from: .9,
			colour: "#31446b",
			label: "0.90"
		},
		{
			from: .8,
			colour: "#666970",
			label: "0.80"
		},
		{
			from: .7,
			colour: "#958f78",
			label: "0.70"
		},
		{
			from: .5,
			colour: "#cbba69",
			label: "0.50"
		},
		{
			from: 0,
			colour: "#ffea46",
			label: "less"
		}
	];
	/** Colour of a slice by the error to be expected of it, one minus the Dice. */
	function colourOfError(error) {
		return STEPS.find((step) => 1 - error >= step.from - 1e-9).colour;
	}
	/** What a mark on the strip means. */
	var MARKS = {
		labelled: {
			colour: "#ffffff",
			label: "labelled"
		},
		drawn: {
			colour: "#56b4e9",
			label: "drawn, not submitted"
		},
		confirmed: {
			colour: "#009e73",
			label: "confirmed, not submitted"
		},
		changed: {
			colour: "#d55e00",
			label: "changed by the last Segment"
		},
		waiting: {
			colour: "#3a3f55",
			label: "not segmented"
		}
	};
	// node_modules/preact/jsx-runtime/dist/jsxRuntime.mjs
	var f = Symbol.for("pv");
	var o = 0;
	Array.isArray;
	function a(t, e, n, u, a, i) {
		e || (e = {});
		var c, l, p = e;
		if ("ref" in p && "function" != typeof t) for (l in p = {}, e) "ref" == l ? c = e[l] : p[l] = e[l];
		var s = {
			type: t,
			props: p,
			key: n,
			ref: c,
			__k: null,
			__: null,
			__b: 0,
			__e: null,
			__c: null,
			constructor: f,
			__v: --o,
			__i: -1,
			__u: 0
		};
		return (a || i) && (s.__source = a, s.__self = i), n$1.vnode && n$1.vnode(s), s;
	}
	// src/components/buttons.tsx
	/** Starts a command; stands out where that is the next thing to do. */
	function Button({ store, acts, command, title, children }) {
		const { highlight, blocked } = store.guide.value;
		return /* @__PURE__ */ a("button", {
			id: `fewsam-${command}`,
			class: highlight === command && !(command in blocked) ? "main" : "",
			disabled: command in blocked,
			title: blocked[command] ?? title ?? "",
			onClick: () => acts.press(command),
			children
		});
	}
	/** Takes a tool in hand, or puts it away. */
	function ToolButton({ store, acts, tool, title, children }) {
		const { highlight, blocked } = store.guide.value;
		const inHand = store.tool.value === tool;
		return /* @__PURE__ */ a("button", {
			id: `fewsam-${tool}`,
			class: `${highlight === tool && !(tool in blocked) ? "main" : ""} ${inHand ? "on" : ""}`,
			"aria-pressed": inHand,
			disabled: tool in blocked,
			title: blocked[tool] ?? title ?? "",
			onClick: () => acts.pick(tool),
			children
		});
	}
	/** A small button that asks the server: it waits, as all others do, while something else is done. */
	function BusyButton({ store, name = "", title = "", act, children }) {
		const busy = store.busy.value;
		return /* @__PURE__ */ a("button", {
			class: `small ${name}`,
			disabled: busy !== "",
			title: busy ? `${busy} …` : title,
			onClick: act,
			children
		});
	}
	// src/components/appearance.tsx
	/** How structures look in this browser, and what the colours of the strip mean; folded away most of the time. */
	function Appearance({ store, acts, lab }) {
		const look = store.look.value;
		return /* @__PURE__ */ a("details", {
			id: "fewsam-look",
			children: [
				/* @__PURE__ */ a("summary", { children: "Appearance, 3D, colours of the strip" }),
				/* @__PURE__ */ a("label", {
					class: "fs-row",
					children: [/* @__PURE__ */ a("span", {
						class: "faint",
						children: "opacity"
					}), /* @__PURE__ */ a("input", {
						type: "range",
						id: "fewsam-opacity",
						min: "0",
						max: "1",
						step: "0.05",
						value: look.opacity,
						onInput: (event) => acts.dress({ opacity: Number(event.currentTarget.value) })
					})]
				}),
				/* @__PURE__ */ a("label", {
					class: "fs-row",
					children: [/* @__PURE__ */ a("span", {
						class: "faint",
						children: "outline"
					}), /* @__PURE__ */ a("input", {
						type: "range",
						id: "fewsam-outline",
						min: "0",
						max: "6",
						step: "1",
						value: look.outline,
						onInput: (event) => acts.dress({ outline: Number(event.currentTarget.value) })
					})]
				}),
				/* @__PURE__ */ a("div", {
					class: "fs-row",
					children: /* @__PURE__ */ a(Button, {
						store,
						acts,
						lab,
						command: "in3D",
						title: "The structures as surfaces; drag to turn them",
						children: "Show in 3D"
					})
				}),
				/* @__PURE__ */ a("ul", {
					id: "fewsam-legend",
					"aria-label": "Colours of the strip",
					children: [
						/* @__PURE__ */ a("li", {
							class: "faint",
							children: "Expected Dice of a slice"
						}),
						STEPS.map(({ colour, label }) => /* @__PURE__ */ a(Entry, {
							colour,
							label
						}, label)),
						Object.values(MARKS).map(({ colour, label }) => /* @__PURE__ */ a(Entry, {
							colour,
							label
						}, label))
					]
				})
			]
		});
	}
	function Entry({ colour, label }) {
		return /* @__PURE__ */ a("li", { children: [
			/* @__PURE__ */ a("span", {
				class: "swatch",
				style: { background: colour }
			}),
			" ",
			label
		] });
	}
	// src/components/curve.tsx
	function mean(point) {
		const values = Object.values(point.dice).filter(Number.isFinite);
		return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
	}
	function Curve({ store }) {
		const points = (store.server.value?.curve ?? []).slice(-40).filter((point) => Object.keys(point.dice).length);
		const x = (n) => points.length < 2 ? 130 : 30 + 200 * n / (points.length - 1);
		const y = (dice) => 95 - 85 * dice;
		const places = points.map((point, n) => [x(n), y(mean(point))]);
		return /* @__PURE__ */ a($, { children: [/* @__PURE__ */ a("h4", { children: "Dice on the slices you corrected" }), /* @__PURE__ */ a("svg", {
			class: "curve",
			id: "fewsam-curve",
			viewBox: "0 0 240 110",
			children: [
				[
					0,
					.5,
					1
				].map((dice) => /* @__PURE__ */ a($, { children: [/* @__PURE__ */ a("line", {
					x1: "24",
					x2: "235",
					y1: y(dice),
					y2: y(dice),
					stroke: "#2a3866"
				}), /* @__PURE__ */ a("text", {
					x: "3",
					y: y(dice) + 3,
					fill: "#8fa3d6",
					"font-size": "9",
					children: dice.toFixed(1)
				})] })),
				/* @__PURE__ */ a("polyline", {
					points: places.map((p) => p.join(",")).join(" "),
					fill: "none",
					stroke: "#5a78f0",
					"stroke-width": "1.5"
				}),
				places.map(([cx, cy], n) => /* @__PURE__ */ a($, { children: [/* @__PURE__ */ a("circle", {
					cx,
					cy,
					r: "3",
					fill: points[n].model_version ? "#3ddc5b" : "#ffb347"
				}), (points.length <= 8 || n === points.length - 1) && /* @__PURE__ */ a("text", {
					x: cx - 8,
					y: Math.max(cy - 6, 9),
					fill: "#e6ecff",
					"font-size": "9",
					children: mean(points[n]).toFixed(2)
				})] })),
				/* @__PURE__ */ a("text", {
					x: "28",
					y: "107",
					fill: "#8fa3d6",
					"font-size": "9",
					children: points.length ? "submission →   orange: untrained, green: trained" : "appears when you submit a correction"
				})
			]
		})] });
	}
	// src/components/draw.tsx
	/** Tools that draw, the size of the brush, the way back, and one-press edits of the slice on the screen. */
	function Draw({ store, acts }) {
		const given = {
			store,
			acts
		};
		return /* @__PURE__ */ a("section", {
			"aria-label": "Draw",
			children: [
				/* @__PURE__ */ a("h4", { children: "Draw" }),
				/* @__PURE__ */ a("div", {
					class: "fs-row",
					children: [
						/* @__PURE__ */ a(ToolButton, {
							...given,
							tool: "brush",
							title: "Brush (B)",
							children: "Brush"
						}),
						/* @__PURE__ */ a(ToolButton, {
							...given,
							tool: "eraser",
							title: "Eraser (E)",
							children: "Eraser"
						}),
						/* @__PURE__ */ a(ToolButton, {
							...given,
							tool: "threshold",
							title: "Paints what looks like the tissue under the cursor (T)",
							children: "Threshold"
						}),
						/* @__PURE__ */ a(ToolButton, {
							...given,
							tool: "lasso",
							title: "Drag round an area, or click its corners and press Enter; with Alt it erases (P)",
							children: "Lasso"
						})
					]
				}),
				/* @__PURE__ */ a("div", {
					class: "fs-row",
					children: [
						/* @__PURE__ */ a(Button, {
							...given,
							command: "undo",
							title: "Undo (Ctrl+Z)",
							children: "Undo"
						}),
						/* @__PURE__ */ a(Button, {
							...given,
							command: "redo",
							title: "Redo (Ctrl+Shift+Z or Ctrl+Y)",
							children: "Redo"
						}),
						/* @__PURE__ */ a("span", {
							class: "faint",
							children: "size"
						}),
						/* @__PURE__ */ a("input", {
							type: "range",
							id: "fewsam-size",
							"aria-label": "brush size",
							title: "Radius of the brush in mm ([ and ])",
							min: "1",
							max: "60",
							step: "1",
							value: store.radius.value,
							onInput: (event) => acts.size(Number(event.currentTarget.value))
						})
					]
				}),
				/* @__PURE__ */ a("div", {
					class: "fs-row edits",
					children: [
						/* @__PURE__ */ a(Button, {
							...given,
							command: "holes",
							title: "Fill the holes of the chosen structure on this slice (F)",
							children: "Fill holes"
						}),
						/* @__PURE__ */ a(Button, {
							...given,
							command: "smooth",
							title: "Smooth the outline of the chosen structure on this slice (O)",
							children: "Smooth"
						}),
						/* @__PURE__ */ a(Button, {
							...given,
							command: "islands",
							title: "Remove small parts of the chosen structure on this slice (U)",
							children: "No islands"
						})
					]
				}),
				/* @__PURE__ */ a("div", {
					class: "fs-row edits",
					children: [/* @__PURE__ */ a(Button, {
						...given,
						command: "copy",
						title: "Copy the chosen structure from the slice before (D)",
						children: "Copy from before"
					}), /* @__PURE__ */ a(Button, {
						...given,
						command: "interpolate",
						title: "The chosen structure on all slices between drawn ones (J)",
						children: "Interpolate"
					})]
				})
			]
		});
	}
	// src/components/history.tsx
	function History({ store, acts }) {
		const [open, shots] = [store.open.value, store.history.value];
		return /* @__PURE__ */ a("details", {
			id: "fewsam-history",
			onToggle: (event) => acts.trace(event.currentTarget.open),
			children: [/* @__PURE__ */ a("summary", { children: ["History of slice ", /* @__PURE__ */ a("span", {
				id: "fewsam-slice",
				children: open ? numbering.of(open.slice) : ""
			})] }), /* @__PURE__ */ a("div", {
				id: "fewsam-shots",
				children: shots.length ? shots.map((shot) => /* @__PURE__ */ a(Row$2, {
					store,
					acts,
					shot
				}, shot.shot)) : "Nobody has labelled this slice."
			})]
		});
	}
	function Row$2({ store, acts, shot }) {
		const what = shot.withdrawn ? "label taken back" : shot.structures.join(", ") || "nothing is there";
		const [act, text] = shot.current ? ["unlabel", "Un-label"] : ["restore", "Restore"];
		return /* @__PURE__ */ a("div", {
			class: "shot",
			children: [/* @__PURE__ */ a("span", {
				title: shot.source,
				children: `${new Date(shot.time).toLocaleString()}, ${shot.annotator || "somebody"}: ${what}`
			}), !shot.withdrawn && /* @__PURE__ */ a(BusyButton, {
				store,
				name: act,
				act: () => acts.history(act, shot),
				children: text
			})]
		});
	}
	// src/components/learn.tsx
	/** The round: submit, segment, train, and on to the next slice; and how far what runs is. */
	function Learn({ store, acts }) {
		const given = {
			store,
			acts
		};
		const [dirty, conflict] = [store.open.value?.dirty.length ?? 0, store.asked.value];
		return /* @__PURE__ */ a("section", {
			"aria-label": "Learn",
			children: [
				/* @__PURE__ */ a("h4", { children: "Learn" }),
				/* @__PURE__ */ a("div", {
					class: "fs-row",
					children: [/* @__PURE__ */ a(Button, {
						...given,
						command: "right",
						title: "What is shown on this slice is right: Submit makes it a label (Y)",
						children: "This slice is right"
					}), /* @__PURE__ */ a(Button, {
						...given,
						command: "absent",
						title: "The chosen structure is not on this slice (0)",
						children: "Not on this slice"
					})]
				}),
				/* @__PURE__ */ a("div", {
					class: "fs-row",
					children: [
						/* @__PURE__ */ a(Button, {
							...given,
							command: "submit",
							title: "What is drawn or confirmed becomes a label (S)",
							children: `Submit${conflict ? " mine" : ""}${dirty ? ` (${count(dirty, "slice")})` : ""}`
						}),
						/* @__PURE__ */ a(Button, {
							...given,
							command: "segment",
							title: "The model's answer for the whole series (G)",
							children: "Segment"
						}),
						/* @__PURE__ */ a(Button, {
							...given,
							command: "train",
							title: "The model learns from all submitted slices (M)",
							children: store.training.value ? "Stop training" : "Train"
						})
					]
				}),
				conflict && /* @__PURE__ */ a("div", {
					class: "fs-row",
					children: [/* @__PURE__ */ a(Button, {
						...given,
						command: "theirs",
						title: "Show what was submitted from elsewhere; Undo brings yours back",
						children: "Take theirs"
					}), /* @__PURE__ */ a(Button, {
						...given,
						command: "both",
						title: "Theirs stays the label; yours is kept beside it, to compare the two",
						children: "Keep both"
					})]
				}),
				/* @__PURE__ */ a("div", {
					class: "fs-row",
					children: [
						/* @__PURE__ */ a(Button, {
							...given,
							command: "next",
							title: "To the slice whose label would teach most (N)",
							children: "Next slice"
						}),
						/* @__PURE__ */ a(Button, {
							...given,
							command: "skip",
							title: "Another one; this slice is not offered again (K)",
							children: "Skip"
						}),
						/* @__PURE__ */ a(Button, {
							...given,
							command: "back",
							title: "To where you were before Next slice (Shift+N)",
							children: "Back"
						})
					]
				})
			]
		});
	}
	var ENCODING = "Slices that the encoder has not been over yet. You can go on: an answer gets better by itself once all are encoded.";
	function Progress({ store, acts, lab }) {
		const [training, busy, stats] = [
			store.training.value,
			store.busy.value,
			store.server.value?.training
		];
		const share = training && stats ? done(stats) : void 0;
		const status = progress(store.server.value, busy);
		return /* @__PURE__ */ a($, { children: [share === void 0 ? /* @__PURE__ */ a("progress", {
			id: "fewsam-progress",
			"aria-label": "progress",
			max: "1",
			hidden: !training && !busy
		}, "unknown") : /* @__PURE__ */ a("progress", {
			id: "fewsam-progress",
			"aria-label": "progress",
			max: "1",
			value: share
		}, "share"), /* @__PURE__ */ a("div", {
			class: "fs-row",
			id: "fewsam-below-progress",
			children: [/* @__PURE__ */ a("div", {
				class: "faint",
				id: "fewsam-status",
				title: status.startsWith("Encoding") ? ENCODING : status,
				children: status
			}), !training && /* @__PURE__ */ a(Button, {
				store,
				acts,
				lab,
				command: "improve",
				title: "For when nobody waits: learn from the images that nobody labelled too",
				children: "Improve overnight"
			})]
		})] });
	}
	// src/components/textinput.tsx
	function TextInput({ id, label, value, input, enter, escape, select }) {
		return /* @__PURE__ */ a("input", {
			type: "text",
			id,
			placeholder: label,
			"aria-label": label,
			value,
			ref: (element) => {
				if (select && element && !element.dataset.selected) {
					element.dataset.selected = "once";
					window.setTimeout(() => {
						element.focus();
						element.select();
					});
				}
			},
			onMouseDown: (event) => event.stopPropagation(),
			onInput: (event) => input(event.currentTarget.value),
			onKeyDown: (event) => {
				event.stopPropagation();
				if (event.key === "Enter") enter();
				if (event.key === "Escape") escape?.();
			}
		});
	}
	// src/components/person.tsx
	function Person({ store, acts, lab }) {
		const known = store.server.value?.person ?? "";
		const why = "Your name is stored with each label that you submit.";
		return /* @__PURE__ */ a("div", {
			id: "fewsam-person",
			title: known ? `${why} So far: ${known}.` : why,
			children: [/* @__PURE__ */ a(TextInput, {
				id: "fewsam-who",
				label: "Your name",
				value: lab.typed.value,
				input: (text) => lab.typed.value = text,
				enter: () => acts.lab.name(),
				select: lab.naming.value
			}), /* @__PURE__ */ a("button", {
				id: "fewsam-named",
				class: "small",
				disabled: !lab.typed.value.trim(),
				onClick: () => acts.lab.name(),
				children: "That is me"
			})]
		});
	}
	// src/components/message.tsx
	/** What the panel says or asks, and the next thing to do. Its place is reserved, so that nothing below it jumps. */
	function Message(given) {
		const { store, lab } = given;
		const { text, kind, answers, serial } = store.message.value;
		const { hint } = store.guide.value;
		const notes = store.problems.value.length;
		const named = !asksName(store.server.value, lab.name.value) && !lab.naming.value;
		const [short, more] = kind === "asks" ? [text, ""] : inShort(text);
		return /* @__PURE__ */ a("div", {
			id: "fewsam-said",
			children: [/* @__PURE__ */ a("div", {
				class: `message ${kind}`,
				id: "fewsam-message",
				role: "status",
				children: [/* @__PURE__ */ a("div", {
					id: "fewsam-text",
					children: [short, more && /* @__PURE__ */ a("details", { children: [/* @__PURE__ */ a("summary", { children: "More" }), more] })]
				}, serial), /* @__PURE__ */ a("div", {
					class: "fs-row",
					id: "fewsam-answers",
					children: answers.map(({ label, act }) => /* @__PURE__ */ a("button", {
						onClick: act,
						children: label
					}, label))
				})]
			}), /* @__PURE__ */ a("div", {
				class: "fs-row",
				id: "fewsam-below",
				children: [
					named ? /* @__PURE__ */ a("div", {
						id: "fewsam-hint",
						title: hint,
						children: hint && `Next: ${hint}`
					}) : /* @__PURE__ */ a(Person, { ...given }),
					notes > 0 && /* @__PURE__ */ a("button", {
						class: "small",
						id: "fewsam-noted",
						title: "Go to what is odd or waits",
						onClick: toNotes,
						children: [count(notes, "note"), " ↓"]
					}),
					/* @__PURE__ */ a("button", {
						class: "small",
						id: "fewsam-keys",
						title: "Keys (?)",
						"aria-expanded": store.sheet.value,
						onClick: () => store.sheet.value = !store.sheet.value,
						children: "Keys"
					})
				]
			})]
		});
	}
	var toNotes = () => document.querySelector("#fewsam-problems")?.scrollIntoView();
	// src/components/points.tsx
	/** Correct with points, scribbles and boxes. */
	function Points({ store, acts }) {
		const given = {
			store,
			acts
		};
		return /* @__PURE__ */ a("section", {
			"aria-label": "Correct",
			children: [
				/* @__PURE__ */ a("h4", { children: "Correct" }),
				/* @__PURE__ */ a("div", {
					class: "fs-row",
					children: [/* @__PURE__ */ a(ToolButton, {
						...given,
						tool: "include",
						title: "A click adds what belongs to the chosen structure (A)",
						children: "+ Include"
					}), /* @__PURE__ */ a(ToolButton, {
						...given,
						tool: "exclude",
						title: "A click takes away what does not belong to it (X)",
						children: "− Exclude"
					})]
				}),
				/* @__PURE__ */ a("div", {
					class: "fs-row",
					children: [
						/* @__PURE__ */ a(ToolButton, {
							...given,
							tool: "scribble",
							title: "A line inside of what belongs to the chosen structure; with Alt, of what does not (W)",
							children: "Scribble"
						}),
						/* @__PURE__ */ a(ToolButton, {
							...given,
							tool: "box",
							title: "A box that holds the chosen structure; with Alt, one that holds none of it (Q)",
							children: "Box"
						}),
						/* @__PURE__ */ a("button", {
							id: "fewsam-propagate",
							class: store.propagate.value ? "on" : "",
							"aria-pressed": store.propagate.value,
							title: "Propagate what a prompt changes to the neighbouring slices, while it holds there. They are then drawn slices too: look at them before you submit.",
							onClick: () => store.propagate.value = !store.propagate.value,
							children: "In 3D"
						}),
						/* @__PURE__ */ a(Button, {
							...given,
							command: "clear",
							title: "Forget the points, scribbles and boxes; what they changed stays",
							children: "Clear"
						})
					]
				})
			]
		});
	}
	// src/components/sheet.tsx
	/** The sheet of keys. */
	function Sheet({ store }) {
		if (!store.sheet.value) return null;
		return /* @__PURE__ */ a("div", {
			id: "fewsam-sheet",
			role: "dialog",
			"aria-label": "Keys",
			onClick: () => store.sheet.value = false,
			children: [SHEET.map(({ title, rows }) => /* @__PURE__ */ a("section", { children: [/* @__PURE__ */ a("h4", { children: title }), /* @__PURE__ */ a("dl", { children: rows.map(([keys, what]) => /* @__PURE__ */ a("div", { children: [/* @__PURE__ */ a("dt", { children: keys }), /* @__PURE__ */ a("dd", { children: what })] }, keys)) })] }, title)), /* @__PURE__ */ a("p", {
				class: "faint",
				children: "Press ? or Escape to close. All other keys are the viewer's own."
			})]
		});
	}
	// src/components/icons.tsx
	/** Small drawings on buttons: fonts of symbols differ from machine to machine. */
	var PATHS = {
		shown: "M1 8s2.6-4.5 7-4.5S15 8 15 8s-2.6 4.5-7 4.5S1 8 1 8z M8 6a2 2 0 1 0 0 4a2 2 0 1 0 0-4z",
		hidden: "M1 8s2.6-4.5 7-4.5S15 8 15 8s-2.6 4.5-7 4.5S1 8 1 8z M2.5 14L13.5 2",
		locked: "M3.5 7.5h9v6h-9z M5.5 7.5V5a2.5 2.5 0 0 1 5 0v2.5",
		unlocked: "M3.5 7.5h9v6h-9z M5.5 7.5V4a2.5 2.5 0 0 1 4.8-1",
		rename: "M3 13l.6-2.8L11 2.8l2.2 2.2L5.8 12.4z M9.6 4.2l2.2 2.2",
		delete: "M3.5 3.5l9 9 M12.5 3.5l-9 9"
	};
	function Icon({ name }) {
		return /* @__PURE__ */ a("svg", {
			viewBox: "0 0 16 16",
			width: "13",
			height: "13",
			"aria-hidden": "true",
			children: /* @__PURE__ */ a("path", {
				d: PATHS[name],
				fill: "none",
				stroke: "currentColor",
				"stroke-width": "1.4",
				"stroke-linejoin": "round",
				"stroke-linecap": "round"
			})
		});
	}
	// src/components/structures.tsx
	/** The list of structures: choose one, rename it, delete it, add one, and name a segment that has no name yet. */
	function StructureList({ store, acts }) {
		const editing = useSignal(0);
		const counts = store.server.value?.image?.counts ?? {};
		return /* @__PURE__ */ a($, { children: [
			/* @__PURE__ */ a("h4", { children: ["Structures ", /* @__PURE__ */ a("span", {
				class: "faint",
				children: "labelled slices: here / all"
			})] }),
			/* @__PURE__ */ a("div", {
				id: "fewsam-classes",
				children: store.structures.value.map((one) => /* @__PURE__ */ a(Row$1, {
					store,
					acts,
					one,
					here: counts[one.name] ?? 0,
					editing: editing.value === one.value,
					edit: (wanted) => editing.value = wanted ? one.value : 0
				}, one.value))
			}),
			store.server.value?.new_labels && /* @__PURE__ */ a("div", {
				class: "fs-row",
				id: "fewsam-new",
				children: [/* @__PURE__ */ a(TextInput, {
					id: "fewsam-name",
					label: "new structure",
					value: store.typed.value,
					input: (text) => store.typed.value = text,
					enter: () => acts.press("add")
				}), /* @__PURE__ */ a(Button, {
					store,
					acts,
					command: "add",
					children: "Add"
				})]
			})
		] });
	}
	function Row$1({ store, acts, one, here, editing, edit }) {
		const chosen = store.chosen.value === one.value;
		const look = store.look.value;
		const [hidden, locked] = [look.hidden.includes(one.value), look.locked.includes(one.value)];
		return /* @__PURE__ */ a("div", {
			class: `class ${chosen ? "on" : ""}`,
			"data-name": one.name,
			onMouseDown: () => acts.choose(one.value),
			children: [/* @__PURE__ */ a(Swatch, {
				store,
				acts,
				one
			}), !one.id || editing ? /* @__PURE__ */ a(NewName, {
				acts,
				one,
				edit
			}) : /* @__PURE__ */ a($, { children: [
				/* @__PURE__ */ a("button", {
					class: "name",
					title: one.name,
					"aria-pressed": chosen,
					onClick: () => acts.choose(one.value),
					children: one.name
				}),
				/* @__PURE__ */ a("span", {
					class: "count",
					children: `${here} / ${one.slices}`
				}),
				store.server.value?.new_labels && /* @__PURE__ */ a("span", {
					class: "tools",
					children: [/* @__PURE__ */ a(Small, {
						kind: "rename",
						icon: "rename",
						title: `Rename ${one.name}`,
						act: () => edit(true)
					}), /* @__PURE__ */ a(Small, {
						kind: "delete",
						icon: "delete",
						title: `Delete ${one.name}; its labels stay in the history`,
						act: () => acts.remove(one)
					})]
				}),
				/* @__PURE__ */ a(Small, {
					kind: hidden ? "see set" : "see",
					icon: hidden ? "hidden" : "shown",
					title: hidden ? `Show ${one.name}` : `Hide ${one.name}`,
					act: () => acts.dress({ hidden: toggled(look.hidden, one.value) })
				}),
				/* @__PURE__ */ a(Small, {
					kind: locked ? "lock set" : "lock",
					icon: locked ? "locked" : "unlocked",
					title: locked ? `Unlock ${one.name}` : `Lock ${one.name}: drawing another structure does not change it`,
					act: () => acts.dress({ locked: toggled(look.locked, one.value) })
				})
			] })]
		});
	}
	/** The structure's colour, and another one for this browser. */
	function Swatch({ store, acts, one }) {
		const look = store.look.value;
		const change = (event) => {
			const colour = unhex(event.currentTarget.value);
			acts.dress({ colours: {
				...look.colours,
				[one.id]: colour
			} });
		};
		const label = `Colour of ${one.name}`;
		return /* @__PURE__ */ a("input", {
			type: "color",
			class: "swatch",
			"aria-label": label,
			title: label,
			disabled: !one.id,
			value: hex(colourOf(look, one)),
			onChange: change
		});
	}
	function NewName({ acts, one, edit }) {
		const typed = useSignal(one.id ? one.name : "");
		const enter = () => {
			if (!typed.value.trim()) return;
			acts.rename(one, typed.value.trim());
			edit(false);
		};
		return /* @__PURE__ */ a(TextInput, {
			label: one.id ? one.name : `name ${one.name}`,
			value: typed.value,
			input: (text) => typed.value = text,
			enter,
			escape: () => edit(false),
			select: Boolean(one.id)
		});
	}
	function Small({ kind, icon, title, act }) {
		return /* @__PURE__ */ a("button", {
			class: `small ${kind}`,
			title,
			"aria-label": title,
			onMouseDown: (event) => event.stopPropagation(),
			onClick: act,
			children: /* @__PURE__ */ a(Icon, { name: icon })
		});
	}
	// src/components/readings.tsx
	function Readings(given) {
		const read = given.lab.readings.value;
		if (!read.length) return null;
		return /* @__PURE__ */ a("div", {
			id: "fewsam-readings",
			children: [/* @__PURE__ */ a("h4", { children: "Labelled by two people" }), read.flatMap((slice) => slice.readings.map((reading) => /* @__PURE__ */ a(Row, {
				...given,
				slice,
				reading
			}, reading.reading)))]
		});
	}
	function Row({ store, acts, lab, slice, reading }) {
		const who = reading.annotator || "somebody";
		const force = slice.in_force?.annotator || "somebody";
		const dice = Object.entries(reading.dice).map(([name, value]) => `${name} ${value === null ? "-" : value.toFixed(2)}`);
		return /* @__PURE__ */ a("div", {
			class: "reading",
			children: [
				/* @__PURE__ */ a("span", { children: [`Slice ${numbering.of(slice.slice)}: ${force} (in force) and ${who}`, /* @__PURE__ */ a("span", {
					class: "faint",
					children: dice.length ? ` Dice: ${dice.join(", ")}` : ""
				})] }),
				/* @__PURE__ */ a(BusyButton, {
					store,
					title: `Go to the slice and show what ${who} drew; Undo takes it away`,
					act: () => acts.lab.show(slice, reading),
					children: "Show"
				}),
				lab.worklist.value?.can_review && /* @__PURE__ */ a(BusyButton, {
					store,
					name: "adopt",
					title: `Make what ${who} drew the label; that of ${force} stays in the history`,
					act: () => acts.lab.adopt(slice, reading),
					children: "Put in force"
				})
			]
		});
	}
	// src/components/worklist.tsx
	/** The worklist: where the open series and all others stand, what is said of them, and results to take away. */
	var REVIEWED = [
		"done",
		"unsure",
		"accepted"
	];
	var FORMS = [
		["nii.gz", "NIfTI"],
		["seg.nrrd", "NRRD"],
		["dcm", "DICOM SEG"]
	];
	function Worklist(given) {
		const { store, acts, lab } = given;
		const { value: list } = lab.worklist;
		const series = lab.of(store.open.value?.series);
		const person = store.server.value?.person || lab.name.value;
		return /* @__PURE__ */ a("details", {
			id: "fewsam-worklist",
			onToggle: (event) => acts.lab.unfold(event.currentTarget.open),
			children: [
				/* @__PURE__ */ a("summary", { children: ["Worklist ", /* @__PURE__ */ a("span", {
					class: "faint",
					children: lab.summary.value
				})] }),
				person && /* @__PURE__ */ a("div", {
					class: "faint",
					children: [`You are ${person}. `, store.server.value?.person === lab.name.value && /* @__PURE__ */ a("button", {
						class: "small",
						id: "fewsam-rename-me",
						onClick: () => lab.naming.value = true,
						children: "Somebody else"
					})]
				}),
				series && /* @__PURE__ */ a(Marks, {
					...given,
					series
				}),
				/* @__PURE__ */ a(Readings, { ...given }),
				list?.problem && /* @__PURE__ */ a("div", {
					class: "message bad",
					children: list.problem
				}),
				/* @__PURE__ */ a("div", {
					id: "fewsam-studies",
					children: list?.studies.map((study) => /* @__PURE__ */ a(Rows, {
						...given,
						study
					}, study.study))
				})
			]
		});
	}
	/** What a person says of the open series. */
	function Marks({ store, acts, lab, series }) {
		const review = lab.worklist.value?.can_review && REVIEWED.includes(series.state);
		const marked = [
			"done",
			"unsure",
			"accepted",
			"sent back"
		].includes(series.state);
		return /* @__PURE__ */ a($, { children: [
			/* @__PURE__ */ a("div", {
				id: "fewsam-place",
				children: [
					"This series: ",
					/* @__PURE__ */ a(State, { series }),
					series.grown_since && ", the series has changed since it was marked",
					series.changed_since && " labelled again since",
					series.note && /* @__PURE__ */ a("span", {
						class: "faint",
						children: ` “${series.note}”, ${series.marked_by || "somebody"}`
					})
				]
			}),
			/* @__PURE__ */ a("div", {
				class: "fs-row",
				children: [
					/* @__PURE__ */ a("button", {
						id: "fewsam-done",
						onClick: () => acts.lab.mark(series, "done"),
						children: "Mark as done"
					}),
					/* @__PURE__ */ a("button", {
						id: "fewsam-unsure",
						onClick: () => acts.lab.mark(series, "unsure"),
						children: "Unsure"
					}),
					marked && /* @__PURE__ */ a("button", {
						id: "fewsam-reopen",
						onClick: () => acts.lab.mark(series, "open"),
						children: "Open again"
					})
				]
			}),
			review && /* @__PURE__ */ a($, { children: [/* @__PURE__ */ a("div", {
				class: "fs-row",
				children: /* @__PURE__ */ a("button", {
					id: "fewsam-accept",
					disabled: series.state === "accepted",
					onClick: () => acts.lab.review(series, "accepted"),
					children: "Accept"
				})
			}), /* @__PURE__ */ a("div", {
				class: "fs-row",
				children: [/* @__PURE__ */ a(TextInput, {
					id: "fewsam-note",
					label: "What is to be mended",
					value: lab.note.value,
					input: (text) => lab.note.value = text,
					enter: () => acts.lab.review(series, "sent back")
				}), /* @__PURE__ */ a("button", {
					id: "fewsam-sendback",
					onClick: () => acts.lab.review(series, "sent back"),
					children: "Send back"
				})]
			})] }),
			/* @__PURE__ */ a(Results, {
				known: store.answered.value || series.labelled_slices > 0,
				image: series.image
			})
		] });
	}
	/** Results as files; what the browser downloads is what the server knows, without what is not submitted. */
	function Results({ known, image }) {
		return /* @__PURE__ */ a("div", {
			class: "fs-row",
			id: "fewsam-results",
			children: [known && FORMS.map(([form, name]) => /* @__PURE__ */ a("a", {
				class: "button",
				href: resultAddress(image, form),
				download: true,
				title: "What was submitted and segmented, as a file",
				children: `↓ ${name}`
			}, form)), /* @__PURE__ */ a("a", {
				class: "button",
				href: tableAddress(),
				download: true,
				title: "Millilitres of each structure, of all series",
				children: "↓ Volumes (CSV)"
			})]
		});
	}
	function Rows({ store, acts, study }) {
		const here = store.open.value?.series;
		return /* @__PURE__ */ a("div", {
			class: "study",
			children: [/* @__PURE__ */ a("div", {
				class: "faint",
				children: [study.patient || "No patient", study.date].filter(Boolean).join(", ")
			}), study.series.map((series) => /* @__PURE__ */ a("button", {
				class: `series ${series.image === here ? "on" : ""}`,
				disabled: series.image === here,
				title: title(series),
				onClick: () => acts.lab.visit(study, series),
				children: [
					/* @__PURE__ */ a("span", { children: series.description || series.modality || series.image }),
					/* @__PURE__ */ a("span", {
						class: "people",
						children: series.people.join(", ")
					}),
					/* @__PURE__ */ a(State, { series })
				]
			}, series.image))]
		});
	}
	function State({ series }) {
		return /* @__PURE__ */ a("span", {
			class: `place ${series.state.replace(" ", "-")}`,
			children: series.state
		});
	}
	function title(series) {
		const labelled = `${series.labelled_slices} labelled slices${series.labelled_by ? `, last by ${series.labelled_by}` : ""}`;
		const grown = series.grown_since && "The series has changed since it was marked.";
		return [
			series.description,
			grown,
			labelled,
			series.note && `“${series.note}”`,
			series.people.length && `open: ${series.people.join(", ")}`
		].filter(Boolean).join("\n");
	}
	// src/components/app.tsx
	/** The whole panel, from top to bottom. */
	function App(given) {
		return /* @__PURE__ */ a($, { children: [
			/* @__PURE__ */ a("style", { children: style }),
			/* @__PURE__ */ a(Message, { ...given }),
			/* @__PURE__ */ a(StructureList, { ...given }),
			/* @__PURE__ */ a(Draw, { ...given }),
			/* @__PURE__ */ a(Points, { ...given }),
			/* @__PURE__ */ a(Learn, { ...given }),
			/* @__PURE__ */ a(Progress, { ...given }),
			/* @__PURE__ */ a(Worklist, { ...given }),
			/* @__PURE__ */ a(Appearance, { ...given }),
			/* @__PURE__ */ a(History, { ...given }),
			/* @__PURE__ */ a(Curve, { ...given }),
			/* @__PURE__ */ a(Problems, { ...given }),
			/* @__PURE__ */ a("p", {
				class: "faint",
				children: "For research: the viewer and this panel are no medical device."
			}),
			/* @__PURE__ */ a(Sheet, { ...given })
		] });
	}
	/** What waits for the PACS, what could not be taken, what others drew. */
	function Problems({ store }) {
		return /* @__PURE__ */ a("div", {
			class: "message bad",
			id: "fewsam-problems",
			children: store.problems.value.join("\n")
		});
	}
	// src/model/structures.ts
	var VALUES = 255;
	var GREY = [
		170,
		170,
		170
	];
	var lower = (name) => name.trim().toLowerCase();
	var Structures = class {
		list = [];
		gone = [];
		/** Those of the server, in its order, and then what only this window has. */
		get all() {
			return [...this.list];
		}
		/** Tells which structures the server has. */
		get ids() {
			return JSON.stringify(this.list.flatMap((one) => one.id || []).sort());
		}
		/** With those that were deleted on the server since: their values stay theirs. */
		get known() {
			return [...this.list, ...this.gone];
		}
		/** Segments that were drawn here and have no structure on the server. */
		get unnamed() {
			return this.list.filter((one) => !one.id);
		}
		of(value) {
			return this.list.find((one) => one.value === value) ?? this.gone.find((one) => one.value === value);
		}
		named(name) {
			return this.list.find((one) => lower(one.name) === lower(name));
		}
		/** Take the server's list: identities keep their values here. Whether anything but counts changed. */
		update(server) {
			const before = JSON.stringify(this.list.map(({ id, name, value }) => [
				id,
				name,
				value
			]));
			const known = [...this.list, ...this.gone];
			const kept = /* @__PURE__ */ new Set();
			const taken = new Set(known.map((one) => one.value));
			const next = server.map(({ id, name, color, slices }, place) => {
				const unnamed = this.list.find((one) => !one.id && lower(one.name) === lower(name));
				const here = this.list.find((one) => one.id === id) ?? unnamed ?? this.gone.find((one) => one.id === id);
				if (here) kept.add(here);
				return {
					id,
					name,
					color,
					slices,
					value: here?.value ?? this.free(place + 1, taken)
				};
			});
			const left = known.filter((one) => !kept.has(one));
			this.gone = left.filter((one) => one.id);
			this.list = [...next, ...left.filter((one) => !one.id)];
			return JSON.stringify(this.list.map(({ id, name, value }) => [
				id,
				name,
				value
			])) !== before;
		}
		/** A segment that only this window has: the viewer's own button made it, or a draft has one that was deleted. */
		addUnnamed(name, value = this.free(1)) {
			const one = {
				id: "",
				name,
				value,
				color: GREY,
				slices: 0
			};
			this.list.push(one);
			return one;
		}
		/** The value under which something from elsewhere is drawn here: from the server, or from a draft. */
		valueFor({ id, name }) {
			const known = [...this.list, ...this.gone];
			const here = id ? known.find((one) => one.id === id) : this.named(name);
			if (here) return here.value;
			if (!id) return this.addUnnamed(name).value;
			const one = {
				id,
				name,
				color: GREY,
				slices: 0,
				value: this.free(1)
			};
			this.gone.push(one);
			return one.value;
		}
		/** From values of the server, the places in ``order`` from 1, to those here. */
		fromServer(voxels, order) {
			const table = /* @__PURE__ */ new Uint8Array(256);
			order.forEach((one, place) => table[place + 1] = this.valueFor(one));
			return voxels.map((value) => table[value]);
		}
		/** What each value in use here means: goes along with whatever is sent or kept. */
		key(used) {
			return [...new Set(used)].filter(Boolean).map((value) => {
				const { id, name } = this.of(value) ?? {
					id: "",
					name: `Segment ${value}`
				};
				return {
					id,
					name,
					value
				};
			});
		}
		free(wanted, taken = new Set([...this.list, ...this.gone].map((one) => one.value))) {
			let value = wanted;
			if (taken.has(value)) for (value = 1; taken.has(value);) value++;
			if (value > VALUES) throw new Error(`There are ${VALUES} structures: delete one first.`);
			taken.add(value);
			return value;
		}
	};
	// src/store.ts
	/** All that the panel shows, in one place: components read these signals, acts change them. Knows neither DOM nor viewer. */
	var TOOLS = [
		"brush",
		"eraser",
		"threshold",
		"lasso",
		"include",
		"exclude",
		"scribble",
		"box"
	];
	var ON_A_SLICE = [
		"right",
		"next",
		"skip",
		"back"
	];
	var EDITS = [
		"holes",
		"smooth",
		"islands",
		"copy",
		"interpolate",
		"absent"
	];
	var Store = class {
		/** What the server said last. */
		server = y$1(null);
		message = y$1({
			text: "",
			kind: "",
			answers: [],
			serial: 0
		});
		/** What is being done at the moment: "Submitting". */
		busy = y$1("");
		/** null while no series is open. */
		open = y$1(null);
		structures = y$1([]);
		/** Voxel value of the chosen structure. */
		chosen = y$1(1);
		/** A tool of the panel, or '' for one of the viewer's own. */
		tool = y$1("");
		radius = y$1(8);
		/** Whether what prompts change is propagated to neighbouring slices. */
		propagate = y$1(false);
		/** How structures look, and which are locked. */
		look = y$1(LOOK$1);
		/** Whether the sheet of keys is shown. */
		sheet = y$1(false);
		/** Slices that the last Segment changed. */
		changed = y$1([]);
		/** The name of a new structure, as it is typed. */
		typed = y$1("");
		/** Slice -> the submission that the server asked about, since it came from elsewhere meanwhile. */
		conflict = y$1({});
		/** Whether an answer of the model that knows all labels is shown. */
		answered = y$1(false);
		/** What the viewer shows instead of slices. */
		aside = y$1("");
		/** Whether there is a place to go back to. */
		back = y$1(false);
		/** Whether the history of the slice on the screen is unfolded, and what it holds, newest first. */
		tracing = y$1(false);
		history = y$1([]);
		/** Whether the server asked about a slice that is still drawn. */
		asked = O(() => (this.open.value?.dirty ?? []).some((k) => k in this.conflict.value));
		training = O(() => Boolean(this.server.value?.training.running));
		labelled = O(() => (this.server.value?.structures ?? []).some((one) => one.slices > 0));
		/** The one thing to do next, and why others cannot be done now. */
		guide = O(() => {
			const open = this.open.value;
			const guide$1 = guide({
				open: Boolean(open),
				busy: this.busy.value,
				structures: this.structures.value.length,
				dirty: open?.dirty.length ?? 0,
				labelled: this.labelled.value ? 1 : 0,
				answered: this.answered.value,
				training: this.training.value
			});
			const { blocked } = guide$1;
			if (!open?.undoSteps) blocked.undo = "Nothing to undo.";
			if (!open?.redoSteps) blocked.redo = "Nothing to redo.";
			if (this.training.value) blocked.improve = "A training runs already.";
			else if (!this.server.value?.trained) blocked.improve = "Train once first.";
			const right = unconfirmable(open, this.labelled.value);
			if (right) blocked.right ??= right;
			const uneditable = this.uneditable();
			if (uneditable) for (const edit of EDITS) blocked[edit] ??= uneditable;
			if (!this.back.value) blocked.back ??= "Next slice has led nowhere yet.";
			if (!open) blocked.in3D = "Open an image series first.";
			const aside = this.aside.value;
			if (aside) for (const one of [...TOOLS, ...ON_A_SLICE]) blocked[one] = BLOCKED[aside];
			return guide$1;
		});
		problems = O(() => {
			const open = this.open.value;
			return problems(this.server.value, open?.foreign ?? [], open?.kept === false);
		});
		/** Why the chosen structure cannot be edited; '' where it can. */
		uneditable() {
			const chosen = this.structures.value.find((one) => one.value === this.chosen.value);
			if (!this.open.value) return "Open an image series first.";
			if (!chosen) return "Choose a structure first.";
			if (this.aside.value) return BLOCKED[this.aside.value];
			return this.look.value.locked.includes(chosen.value) ? `${chosen.name} is locked.` : "";
		}
		say(text, kind, answers = []) {
			const serial = this.message.value.serial + 1;
			this.message.value = {
				text,
				kind: answers.length ? "asks" : kind,
				answers,
				serial
			};
		}
	};
	/** Why the slice on the screen cannot be said to be right; '' where it can. */
	function unconfirmable(open, labelled) {
		if (!labelled) return "Submit a label of at least one slice first: there is nothing to confirm yet.";
		if (open?.sliceIs === "labelled") return "This slice is labelled as it is.";
		if (open?.sliceIs === "drawn") return "This slice is drawn by hand: Submit makes it a label.";
		return open?.sliceIs === "confirmed" ? "It is said already: Submit makes it a label." : "";
	}
	// src/viewer/strip.ts
	/** The strip along the slice slider: what is to be expected of each slice, what is done, and a click goes there. */
	var WIDTH = 16;
	var TOP = 40;
	var BOTTOM = 40;
	var Strip = class {
		map;
		canvas = document.createElement("canvas");
		looks = "";
		shown = {
			uncertainty: [],
			labelled: [],
			changed: []
		};
		constructor(map) {
			this.map = map;
			this.canvas.id = "fewsam-strip";
			this.canvas.style.cssText = `position:absolute;right:24px;top:${TOP}px;width:${WIDTH}px;z-index:20;cursor:pointer`;
			this.canvas.addEventListener("mousedown", (event) => {
				event.stopPropagation();
				const k = this.sliceAt(event);
				if (k !== null) map.geometry.jump(k);
			});
			this.canvas.addEventListener("mousemove", (event) => this.canvas.title = this.title(this.sliceAt(event)));
		}
		get elements() {
			return [this.canvas];
		}
		owns(target) {
			return target === this.canvas;
		}
		draw(height, shown = this.shown) {
			this.shown = shown;
			const { slices } = this.map.session;
			const [current, places] = [this.map.geometry.current(), this.map.geometry.places()];
			const confirmed = slices.dirty.filter((k) => slices.isConfirmed(k));
			const looks = JSON.stringify([
				height,
				current,
				places,
				shown,
				slices.dirty,
				confirmed
			]);
			if (looks === this.looks) return;
			this.looks = looks;
			this.canvas.width = WIDTH;
			this.canvas.height = Math.max(height - TOP - BOTTOM, slices.depth);
			this.canvas.style.height = `${this.canvas.height}px`;
			const context = this.canvas.getContext("2d");
			if (!context) return;
			const step = this.canvas.height / slices.depth;
			const tall = Math.max(step - .5, 1);
			for (let k = 0; k < slices.depth; k++) {
				const y = places[k] * step;
				const error = shown.uncertainty[k];
				context.fillStyle = error === void 0 ? MARKS.waiting.colour : colourOfError(error);
				context.fillRect(4, y, 12, tall);
				if (shown.changed.includes(k)) {
					context.fillStyle = MARKS.changed.colour;
					context.fillRect(13, y, 3, tall);
				}
				if (shown.labelled.includes(k)) {
					context.fillStyle = MARKS.labelled.colour;
					context.fillRect(4, y, 12, tall);
				}
				if (slices.isDirty(k)) {
					context.fillStyle = slices.isConfirmed(k) ? MARKS.confirmed.colour : MARKS.drawn.colour;
					context.fillRect(0, y, 7, Math.max(tall, 3));
				}
			}
			this.drawCurrent(context, places[current] * step, Math.max(tall, 4));
		}
		/** The slice on the screen: a frame of black and white shows on every colour. */
		drawCurrent(context, y, tall) {
			context.lineWidth = 3;
			context.strokeStyle = "#000";
			context.strokeRect(1.5, y - .5, 13, tall + 1);
			context.lineWidth = 1;
			context.strokeStyle = "#fff";
			context.strokeRect(1.5, y - .5, 13, tall + 1);
		}
		sliceAt(event) {
			const rect = this.canvas.getBoundingClientRect();
			const place = Math.floor((event.clientY - rect.top) / rect.height * this.map.session.slices.depth);
			return this.map.geometry.at(place);
		}
		title(k) {
			if (k === null) return "";
			const { slices } = this.map.session;
			const number = `Slice ${this.map.geometry.placeOf(k) + 1}`;
			if (slices.isConfirmed(k)) return `${number}: ${MARKS.confirmed.label}`;
			if (slices.isDirty(k)) return `${number}: ${MARKS.drawn.label}`;
			if (this.shown.labelled.includes(k)) return `${number}: labelled`;
			const error = this.shown.uncertainty[k];
			if (error === void 0) return `${number}: not segmented`;
			return `${number}: expected Dice ${(1 - error).toFixed(2)}${this.shown.changed.includes(k) ? ", changed by the last Segment" : ""}`;
		}
	};
	// src/viewer/overlay.ts
	/** What lies over the viewport: the strip along the slice slider, marks on the image, and tools of ours that point at it. */
	var SVG = "http://www.w3.org/2000/svg";
	var EVENTS = [
		"mousedown",
		"mouseup",
		"mousemove",
		"click",
		"dblclick"
	];
	var LOOK = 500;
	var Overlay = class {
		map;
		strip;
		marks = element$1("svg");
		points = element$1("g");
		held = element$1("g");
		parent = null;
		timer = 0;
		inHand = null;
		k = -1;
		constructor(map) {
			this.map = map;
			this.strip = new Strip(map);
			this.marks.id = "fewsam-points";
			this.marks.style.cssText = "position:absolute;inset:0;width:100%;height:100%;pointer-events:none;z-index:19";
			this.marks.append(this.points, this.held);
			this.attach();
			this.timer = window.setInterval(() => this.attach(), LOOK);
		}
		/** The tool in hand; null: the viewer's own work. */
		set hand(hand) {
			if (hand === this.inHand) return;
			this.inHand?.leave?.();
			this.held.replaceChildren();
			this.inHand = hand;
			this.parent?.classList.toggle("fewsam-hand", hand !== null);
		}
		draw(shown) {
			if (!this.parent) return;
			this.strip.draw(this.parent.clientHeight, shown);
			this.drawPoints();
			this.redraw();
		}
		/** Draw what the tool in hand holds. */
		redraw() {
			if (this.held.childElementCount) this.held.replaceChildren();
			const viewport = viewportOf(this.map.viewportId);
			if (!viewport || !this.inHand?.draw) return;
			const k = this.map.geometry.current();
			if (k !== this.k) this.inHand.leave?.();
			this.k = k;
			const screen = (i, j, on) => viewport.worldToCanvas(this.map.geometry.world(i, j, on));
			this.inHand.draw(this.held, screen, k);
		}
		close() {
			window.clearInterval(this.timer);
			this.hand = null;
			this.detach();
			this.parent = null;
		}
		handle = (event) => {
			if (!this.inHand || event.button !== 0 || this.strip.owns(event.target)) return;
			if (!isShown(this.map.series, this.map.viewportId)) return;
			event.stopImmediatePropagation();
			event.preventDefault();
			const at = this.at(event);
			if (!at) return;
			if (event.type === "mousedown") this.inHand.down(at, event);
			if (event.type === "mousemove") this.inHand.move?.(at, event);
			if (event.type === "mouseup") this.inHand.up?.(at, event);
			if (event.type === "dblclick") this.inHand.twice?.(at, event);
			this.redraw();
		};
		at(event) {
			const viewport = viewportOf(this.map.viewportId);
			const rect = viewport?.canvas?.getBoundingClientRect() ?? viewport?.element.getBoundingClientRect();
			if (!rect) return null;
			const [x, y] = [event.clientX - rect.left, event.clientY - rect.top];
			const k = this.map.geometry.current();
			const [i, j] = this.map.geometry.place(Array.from(viewport.canvasToWorld([x, y])), k);
			return {
				x,
				y,
				i,
				j,
				k
			};
		}
		attach() {
			const now = active();
			const parent = (now?.viewportId !== this.map.viewportId || now.view === "slices" ? viewportOf(this.map.viewportId)?.element ?? null : null)?.parentElement ?? null;
			if (parent !== this.parent || !this.marks.isConnected) {
				this.detach();
				if (parent) {
					if (getComputedStyle(parent).position === "static") parent.style.position = "relative";
					parent.append(...this.strip.elements, this.marks);
					EVENTS.forEach((name) => parent.addEventListener(name, this.handle, true));
					parent.classList.toggle("fewsam-hand", this.inHand !== null);
				}
				this.parent = parent;
			}
			this.draw();
		}
		detach() {
			EVENTS.forEach((name) => this.parent?.removeEventListener(name, this.handle, true));
			this.parent?.classList.remove("fewsam-hand");
			[...this.strip.elements, this.marks].forEach((one) => one.remove());
		}
		drawPoints() {
			if (this.points.childElementCount) this.points.replaceChildren();
			const viewport = viewportOf(this.map.viewportId);
			if (!viewport || !this.map.session.points.length) return;
			const k = this.map.geometry.current();
			const screen = ([i, j]) => viewport.worldToCanvas(this.map.geometry.world(i, j, k));
			for (const point of this.map.session.points.filter((one) => one.k === k)) {
				if (point.kind && point.line) {
					this.points.append(outline(point.kind, point.line, point.include, screen));
					continue;
				}
				const [x, y] = viewport.worldToCanvas(this.map.geometry.world(point.i, point.j, point.k));
				const fill = point.include ? "#3ddc5b" : "#ff4d4d";
				this.points.append(element$1("circle", {
					cx: x,
					cy: y,
					r: 5,
					fill,
					stroke: "#fff"
				}));
			}
		}
	};
	function element$1(name, attributes = {}) {
		const made = document.createElementNS(SVG, name);
		for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
		return made;
	}
	// src/viewer/drag.ts
	/** Scribbles and boxes: drawn by a drag, done when the button is released. */
	var LEAST = .5;
	var Drag = class {
		kind;
		done;
		places = [];
		k = 0;
		exclude = false;
		/**
		* Args:
		*     done: takes the line of a scribble, or two corners of a box, and whether it excludes.
		*/
		constructor(kind, done) {
			this.kind = kind;
			this.done = done;
		}
		down(at, event) {
			this.k = at.k;
			this.exclude = event.altKey;
			this.places = [[at.i, at.j]];
		}
		move(at, event) {
			if (!this.places.length) return;
			if (!event.buttons || at.k !== this.k) return this.leave();
			if (this.kind === "box") this.places = [this.places[0], [at.i, at.j]];
			else {
				const [i, j] = this.places[this.places.length - 1];
				if (Math.hypot(at.i - i, at.j - j) >= LEAST) this.places.push([at.i, at.j]);
			}
		}
		up() {
			const [places, k] = [this.places, this.k];
			this.leave();
			if (places.length > 1) this.done(this.kind, places, k, this.exclude);
		}
		leave() {
			this.places = [];
		}
		draw(svg, screen, k) {
			if (this.places.length > 1 && k === this.k) svg.append(outline(this.kind, this.places, !this.exclude, (place) => screen(...place, k)));
		}
	};
	/** A scribble or a box as it is drawn over the image. */
	function outline(kind, places, include, screen) {
		const points = (kind === "box" ? boxed(places) : places).map((place) => screen(place).join(",")).join(" ");
		return element$1(kind === "box" ? "polygon" : "polyline", {
			points,
			fill: "none",
			stroke: include ? "#3ddc5b" : "#ff4d4d",
			"stroke-width": kind === "box" ? 1.5 : 3,
			"stroke-linecap": "round"
		});
	}
	function boxed([[i, j], [to, down]]) {
		return [
			[i, j],
			[to, j],
			[to, down],
			[i, down]
		];
	}
	// src/viewer/lasso.ts
	/** The lasso: drag round an area, or click its corners and close it with Enter, a double click or a click on the first one. */
	var NEAR = 8;
	var Lasso = class {
		done;
		redraw;
		places = [];
		k = 0;
		dragging = false;
		moved = false;
		first = [0, 0];
		pressed = [0, 0];
		towards = null;
		/**
		* Args:
		*     done: takes the corners of a closed area, and whether it is to be erased.
		*     redraw: draws what is held.
		*/
		constructor(done, redraw) {
			this.done = done;
			this.redraw = redraw;
		}
		down(at, event) {
			if (this.places.length && at.k !== this.k) this.leave();
			if (this.places.length > 2 && Math.hypot(at.x - this.first[0], at.y - this.first[1]) < NEAR) return this.close(event.altKey);
			if (!this.places.length) {
				this.first = [at.x, at.y];
				this.k = at.k;
				window.addEventListener("keydown", this.keys, true);
			}
			this.pressed = [at.x, at.y];
			this.dragging = true;
			this.moved = false;
			this.places.push([at.i, at.j]);
		}
		move(at, event) {
			this.towards = at;
			if (this.dragging && !event.buttons) this.dragging = false;
			if (!this.dragging || at.k !== this.k) return;
			const [i, j] = this.places[this.places.length - 1];
			if (Math.hypot(at.i - i, at.j - j) < .5) return;
			this.places.push([at.i, at.j]);
			this.moved ||= Math.hypot(at.x - this.pressed[0], at.y - this.pressed[1]) > NEAR;
		}
		up(_, event) {
			const dragged = this.dragging && this.moved;
			this.dragging = false;
			if (dragged && this.places.length > 2) this.close(event.altKey);
		}
		twice(_, event) {
			this.close(event.altKey);
		}
		leave() {
			this.places = [];
			this.dragging = false;
			this.towards = null;
			window.removeEventListener("keydown", this.keys, true);
		}
		draw(svg, screen, k) {
			if (!this.places.length || k !== this.k) return;
			const corners = this.places.map(([i, j]) => screen(i, j, this.k));
			if (this.towards && !this.dragging) corners.push([this.towards.x, this.towards.y]);
			const points = corners.map((corner) => corner.join(",")).join(" ");
			svg.append(element$1("polygon", {
				points,
				fill: "rgba(255,225,77,.2)",
				stroke: "#ffe14d",
				"stroke-width": 1.5
			}));
			if (!this.moved) svg.append(element$1("circle", {
				cx: corners[0][0],
				cy: corners[0][1],
				r: 4,
				fill: "#ffe14d"
			}));
		}
		close(erase) {
			const [places, k] = [this.places, this.k];
			this.leave();
			this.redraw();
			if (places.length > 2) this.done(places, k, erase);
		}
		keys = (event) => {
			if (![
				"Enter",
				"Escape",
				"Backspace"
			].includes(event.key) || typing(event.target)) return;
			event.preventDefault();
			event.stopImmediatePropagation();
			if (event.key === "Enter") return this.close(event.altKey);
			if (event.key === "Backspace") this.places.pop();
			if (event.key === "Escape" || !this.places.length) this.leave();
			this.redraw();
		};
	};
	// src/panel.ts
	/** The panel: the whole loop in one place. OHIF may take it down and up: what it shows is in the store, not in the DOM. */
	var Panel = class {
		root = document.createElement("div");
		store = new Store();
		structures = new Structures();
		map = null;
		overlay = null;
		toolbox = new Toolbox(this.store);
		journey = new Journey(this);
		lab = new Lab();
		labwork = new Labwork(this, this.lab, (study, series) => this.journey.visit(study, series));
		tracing = new Tracing(this);
		working = new Working(this);
		learning = new Learning(this);
		prompting = new Prompting(this);
		pointing = new Pointing(this, this.prompting);
		editing = new Editing(this);
		acts = this.made();
		keys = new Keys(this.store, this.acts, () => this.structures.all, () => this.root.offsetParent !== null);
		hands = {
			include: { down: (at) => this.pointing.point(at) },
			exclude: { down: (at) => this.pointing.point(at) },
			scribble: new Drag("scribble", (...stroke) => this.prompting.stroke(...stroke)),
			box: new Drag("box", (...stroke) => this.prompting.stroke(...stroke)),
			lasso: new Lasso((places, k, erase) => this.editing.area(places, k, erase), () => this.overlay?.redraw())
		};
		asides = new Asides(this);
		watching = new Watching(this, this.toolbox, this.asides);
		opening;
		closing;
		polling = new Polling(this, [
			() => this.opening.follow(),
			async () => this.opening.putBack(),
			() => this.refresh()
		]);
		asked = 0;
		answered = 0;
		constructor(id) {
			this.opening = new Opening(this, {
				nothing: () => this.journey.stranded(),
				opened: (map) => {
					this.overlay = new Overlay(map);
					map.dress(this.store.look.value);
					showPanel(id);
					this.journey.arrive();
					this.show();
				},
				left: () => {
					this.overlay?.close();
					this.overlay = null;
				}
			});
			this.root.id = "fewsam-panel";
			this.store.look.value = kept(localStorage);
			Q(k$2(App, {
				store: this.store,
				acts: this.acts,
				lab: this.lab
			}), this.root);
			this.closing = new Closing(this.opening);
			this.show();
			this.polling.look();
		}
		/** The mode was left: nothing of ours stays over the viewport. */
		close() {
			this.polling.close();
			this.watching.close();
			this.asides.close();
			this.keys.close();
			this.closing.close();
			this.opening.close();
			Q(null, this.root);
		}
		made() {
			const submitting = new Submitting(this);
			const naming = new Naming(this);
			const judging = new Judging(this);
			const commands = {
				submit: () => void submitting.submit(),
				theirs: () => void submitting.theirs(),
				both: () => void submitting.submit([], true),
				segment: () => void this.learning.segment(),
				train: () => void this.learning.train(),
				improve: () => void this.learning.improve(),
				next: () => void this.journey.next(),
				skip: () => void this.journey.skip(),
				back: () => this.journey.back(),
				undo: () => this.step("undo"),
				redo: () => this.step("redo"),
				clear: () => this.pointing.clear(),
				right: () => judging.right(),
				holes: () => this.editing.holes(),
				smooth: () => this.editing.smooth(),
				islands: () => this.editing.islands(),
				copy: () => this.editing.copy(),
				interpolate: () => this.editing.interpolate(),
				absent: () => judging.absent(),
				in3D: () => this.asides.in3D(),
				add: () => void naming.add(this.store.typed.value.trim())
			};
			return {
				press: (command) => commands[command](),
				pick: (tool) => this.pick(tool),
				choose: (value) => this.choose(value),
				size: (radius) => this.toolbox.size(radius),
				dress: (changes) => this.dress({
					...this.store.look.value,
					...changes
				}),
				rename: (structure, name) => void naming.rename(structure, name),
				remove: (structure) => naming.askToDelete(structure),
				trace: (unfolded) => {
					this.store.tracing.value = unfolded;
					this.tracing.look();
				},
				lab: this.labwork,
				history: (act, shot) => void this.tracing[act](shot)
			};
		}
		async refresh() {
			const turn = ++this.asked;
			const state = await getState(this.map?.series, this.map?.geometry.current());
			if (turn < this.answered) return;
			this.answered = turn;
			this.store.server.value = state;
			if (this.structures.update(state.structures)) this.map?.segments();
			this.learning.look(state);
			await this.opening.catchUp();
			await this.tracing.look();
			await this.labwork.look();
			this.show();
		}
		overtake() {
			this.answered = ++this.asked;
		}
		async fetch() {
			const map = this.map;
			if (!map) return false;
			const { head, voxels } = await getLabelmap(map.series);
			return await this.take(map, voxels, head) !== null;
		}
		async take(map, voxels, head) {
			await map.released();
			if (this.map !== map) return null;
			map.commit();
			const changed = map.session.receive(voxels, head);
			map.render(changed);
			return changed;
		}
		work(what, todo, of = this.map) {
			return this.working.work(what, todo, of);
		}
		keep() {
			return this.opening.keep();
		}
		choose(value) {
			this.store.chosen.value = value;
			this.map?.choose(value);
			this.show();
		}
		pick(tool) {
			if (!this.map) return;
			if (!this.structures.all.length) return this.say("Name a structure first: type it in the list of structures, and Add.", "bad");
			this.map.choose(this.store.chosen.value);
			this.toolbox.pick(tool, this.map.viewportId);
			if (!this.store.tool.value) this.say("The tool is put away: the left button sets window and level.", "");
			this.show();
		}
		dress(look) {
			this.store.look.value = look;
			keep(localStorage, look);
			this.map?.dress(look);
		}
		step(way) {
			const map = onScreen(this);
			if (!map) return;
			map.commit();
			const changed = map.session[way]();
			if (!changed) return this.say(`Nothing to ${way}.`, "");
			map.render(changed);
			this.show();
		}
		say(text, kind, answers = []) {
			this.store.say(text, kind, answers);
		}
		show() {
			const { store, map, overlay } = this;
			const image = store.server.value?.image;
			store.back.value = this.journey.canGoBack;
			changed(store.structures, this.structures.all.map((one) => ({ ...one })));
			changed(store.open, map && opened(map, image));
			if (!overlay) return;
			overlay.hand = this.hands[store.tool.value] ?? null;
			overlay.draw({
				uncertainty: image?.uncertainty ?? [],
				labelled: image?.labelled ?? [],
				changed: store.changed.value
			});
		}
	};
	function opened(map, image) {
		const { slices, kept } = map.session;
		const { dirty, undoSteps, redoSteps } = slices;
		const slice = map.geometry.current();
		const drawn = slices.isConfirmed(slice) ? "confirmed" : "drawn";
		const sliceIs = slices.isDirty(slice) ? drawn : image?.labelled.includes(slice) ? "labelled" : "";
		const foreign = slices.outdated(image?.submissions ?? {}).filter((k) => slices.isDirty(k));
		return {
			series: map.series,
			slice,
			sliceIs,
			dirty,
			undoSteps,
			redoSteps,
			foreign,
			kept
		};
	}
	/** Set a signal where its value is another one: what did not change is not drawn again. */
	function changed(signal, value) {
		if (JSON.stringify(signal.value) !== JSON.stringify(value)) signal.value = value;
	}
	// src/main.ts
	/** Our extension and mode, given to the viewer as objects through its configuration script. */
	var EXTENSION = "fewsam";
	var PANEL = `${EXTENSION}.panelModule.fewsam`;
	var panel = null;
	var mount = (node) => {
		if (!node) return;
		node.style.height = "100%";
		panel ??= new Panel(PANEL);
		node.replaceChildren(panel.root);
	};
	var element = {
		$$typeof: Symbol.for("react.element"),
		type: "div",
		key: null,
		ref: mount,
		props: {},
		_owner: null,
		_store: {}
	};
	var extension = {
		id: EXTENSION,
		preRegistration({ servicesManager, commandsManager, extensionManager }) {
			host.services = servicesManager.services;
			host.commands = commandsManager;
			host.extensions = extensionManager;
		},
		onModeEnter: mendExport,
		onModeExit() {
			panel?.close();
			panel = null;
		},
		getPanelModule: () => [{
			name: "fewsam",
			iconName: "tab-segmentation",
			iconLabel: "Few-shot",
			label: "Few-shot",
			component: () => element
		}]
	};
	var mode = {
		id: "fewsam",
		modeFactory: async ({ modeConfiguration, loadModules }) => {
			const [stock] = await loadModules(["@ohif/mode-segmentation"]);
			const made = stock.modeFactory({ modeConfiguration });
			return {
				...made,
				id: "fewsam",
				routeName: "fewsam",
				displayName: "Few-shot segmentation",
				isValidMode: ({ modalities }) => ({
					valid: ![
						"SM",
						"ECG",
						"SEG",
						"RTSTRUCT"
					].includes(modalities),
					description: "Label a few slices of an image series"
				}),
				routes: made.routes.map((route) => ({
					...route,
					layoutTemplate: (given) => {
						const layout = route.layoutTemplate(given);
						return {
							...layout,
							props: {
								...layout.props,
								rightPanels: [PANEL, ...layout.props.rightPanels]
							}
						};
					}
				}))
			};
		}
	};
	document.cookie = `MONAILABEL_SERVER_URL=${escape(`${base}/`)}; path=/`;
	var sheet = document.createElement("style");
	sheet.textContent = outside;
	document.head.append(sheet);
	var config = window.config;
	config.extensions = [...config.extensions ?? [], extension];
	config.modes = [...config.modes ?? [], mode];
	config.investigationalUseDialog ??= { option: "never" };
})();
