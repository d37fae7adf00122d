// SPDX-License-Identifier: BSD-2-Clause
//
// The page: it asks the API below api/, and shows what it says. All text gets into the document as
// text, never as HTML. The address of the page says what is shown, except for defaults.
'use strict';

const POLL_MS = 2000; // between an answer and the next question
const HOUR_MS = 60000; // between the questions for the last hour of all listeners
const WAIT_MS = 15000; // for an answer
const HALF_DAY_MS = 12 * 3600000;
const MOST = 1000; // networks in an answer
const SPANS = {
	'5m': {step: 1, limit: 300},
	'1h': {step: 60, limit: 60},
	'12h': {step: 60, limit: 720},
};
// The lengths that a limit may have. Below them, the lengths that clicks on networks lead to.
const LEVELS = {ipv4: [8, 16, 24, 32], ipv6: [8, 16, 24, 32, 40, 48, 56, 64, 128]};
const STEPS_DOWN = {ipv4: [8, 16, 24, 32], ipv6: [32, 48, 56, 64, 128]};
const DEFAULTS = {
	service: '', listener: '', family: '', v4: '24', v6: '64', within: '', window: '', limit: '100',
	sort: 'count', span: '5m', map: '',
};

const view = {...DEFAULTS}; // what the address says
const last = {status: null, networks: null, refused: null, map: null, history: null, hour: null, hourAt: -Infinity};
let timer = 0;
let round = 0; // of questions: the answers of an earlier one are dropped
let paused = false;

const find = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat();
const percent = new Intl.NumberFormat(undefined, {style: 'percent', maximumFractionDigits: 1});
const clock = new Intl.DateTimeFormat(undefined, {timeStyle: 'medium'});
const minutes = new Intl.DateTimeFormat(undefined, {timeStyle: 'short'});
const day = new Intl.DateTimeFormat(undefined, {dateStyle: 'medium', timeStyle: 'long'});

// --- the document --------------------------------------------------------------------------------

function setText(node, text) {
	if (node.textContent !== String(text))
		node.textContent = text;
}

function setAttribute(node, name, value) {
	if (value === null)
		node.removeAttribute(name);
	else if (node.getAttribute(name) !== String(value))
		node.setAttribute(name, value);
}

function element(name, attributes = {}, ...children) {
	const node = document.createElement(name);

	for (const [key, value] of Object.entries(attributes))
		node.setAttribute(key, value);
	node.append(...children);
	return node;
}

function drawing(name, attributes, text = '') {
	const node = document.createElementNS('http://www.w3.org/2000/svg', name);

	for (const [key, value] of Object.entries(attributes))
		node.setAttribute(key, value);
	node.textContent = text;
	return node;
}

// Make the children of a node those of these items, and keep what is there already: focus and
// selection stay.
function showAll(parent, items, keyOf, create, update) {
	const had = new Map([...parent.children].map((child) => [child.dataset.key, child]));
	const focused = document.activeElement;
	let at = parent.firstElementChild;

	for (const item of items) {
		const key = keyOf(item);
		const child = had.get(key) || create(item);

		had.delete(key);
		child.dataset.key = key;
		update(child, item);
		if (child === at)
			at = at.nextElementSibling;
		else
			parent.insertBefore(child, at);
	}
	for (const child of had.values())
		child.remove();
	if (focused !== document.activeElement && parent.contains(focused))
		focused.focus({preventScroll: true});
}

// Show rows whose first cell is a heading, in a section that is hidden if there are none.
function showTable(section, rows) {
	const cells = section.querySelectorAll('thead th');

	section.hidden = !rows.length;
	showAll(section.querySelector('tbody'), rows, (row) => row.join('\n').slice(0, 200),
		(row) => element('tr', {}, ...row.map((text, i) =>
			element(i ? 'td' : 'th', i ? {class: cells[i].className} : {scope: 'row'}, text))),
		() => {});
}

// --- networks as text ------------------------------------------------------------------------------

// The bytes of an address; null if it is none.
function parseAddress(text) {
	if (!text.includes(':')) {
		const parts = text.split('.').map(Number);

		return parts.length === 4 && parts.every((part) => part >= 0 && part < 256) ? parts : null;
	}
	const [head, tail] = text.split('::');
	const groups = (part) => part ? part.split(':') : [];
	const before = groups(head), after = tail === undefined ? [] : groups(tail);
	const zeros = Array(Math.max(0, 8 - before.length - after.length)).fill('0');

	return [...before, ...zeros, ...after].flatMap((group) => {
		const number = parseInt(group, 16);

		return [number >> 8, number & 255];
	});
}

// Bytes as an address, as the command writes it (RFC 5952).
function formatAddress(bytes) {
	if (bytes.length === 4)
		return bytes.join('.');
	const groups = [];
	let best = {at: 0, n: 1};

	for (let i = 0; i < 16; i += 2)
		groups.push((bytes[i] << 8 | bytes[i + 1]).toString(16));
	for (let at = 0; at < 8; at++) {
		let n = 0;

		while (groups[at + n] === '0')
			n++;
		if (n > best.n)
			best = {at, n};
	}
	return best.n < 2 ? groups.join(':')
		: groups.slice(0, best.at).join(':') + '::' + groups.slice(best.at + best.n).join(':');
}

// What a network is: its bytes, its length, and its family.
function parseNetwork(text) {
	const [address, length] = text.split('/');
	const bytes = parseAddress(address);

	return bytes && {
		bytes, length: length === undefined ? bytes.length * 8 : Number(length),
		family: bytes.length === 4 ? 'ipv4' : 'ipv6',
	};
}

// The network of this length around another one.
function networkAround(network, length) {
	const bytes = network.bytes.map((byte, i) =>
		byte & 0xff00 >> Math.min(8, Math.max(0, length - 8 * i)) & 0xff);

	return `${formatAddress(bytes)}/${length}`;
}

function compareNetworks(a, b) {
	const first = parseNetwork(a.cidr), second = parseNetwork(b.cidr);

	if (first.bytes.length !== second.bytes.length)
		return first.bytes.length - second.bytes.length;
	for (let i = 0; i < first.bytes.length; i++)
		if (first.bytes[i] !== second.bytes[i])
			return first.bytes[i] - second.bytes[i];
	return 0;
}

// The view one level inside a network; null if nothing is inside.
function viewInside(network, cidr) {
	const next = STEPS_DOWN[network.family].find((length) => length > network.length);

	return next === undefined ? null
		: {within: cidr, [network.family === 'ipv4' ? 'v4' : 'v6']: String(next)};
}

// A line for the configuration: a dry run, for networks of this length with more sessions than this.
function limitLine(entry) {
	const network = parseNetwork(entry.cidr);
	const level = (family, length) => LEVELS[family].find((known) => known >= length);
	const ipv4 = level('ipv4', network.family === 'ipv4' ? network.length : Number(view.v4));
	const ipv6 = level('ipv6', network.family === 'ipv6' ? network.length : Number(view.v6));

	return `limit = /${ipv4},/${ipv6} over ${entry.count} log`;
}

// The addresses of listeners that sessions of a family call, each with its ports; '' is all of them.
function calledAddresses(listeners, family) {
	const ports = new Map();

	for (const text of listeners.flatMap((listener) => listener.active ? listener.listen : [])) {
		const [, address, port] = /^\[?(.*?)\]?:(\d+)$/.exec(text);
		const any = {'*': family, '0.0.0.0': 'ipv4', '::': 'ipv6'}[address];

		if ((any || (address.includes(':') ? 'ipv6' : 'ipv4')) !== family)
			continue;
		const key = any ? '' : address;

		ports.set(key, [...(ports.get(key) || []), port]);
	}
	return ports;
}

// Commands for nft that refuse new connections of this network to what the view is of. Those that
// are open stay: otherwise the server would not learn that their clients are gone.
function nftCommands(entry) {
	const of = target();
	const {family} = parseNetwork(entry.cidr);
	const ip = family === 'ipv4' ? 'ip' : 'ip6';
	const called = calledAddresses(listenersOf(of.service === 'inbound_cidr' ? {service: 'SMTP'} : of), family);

	return [...called].map(([address, ports]) =>
		`nft insert rule inet filter input ${ip} saddr ${entry.cidr} ${address && `${ip} daddr ${address} `}` +
		`tcp dport ${ports.length > 1 ? `{ ${ports.join(', ')} }` : ports[0]} ` +
		'tcp flags syn / syn,ack reject with tcp reset').join('\n');
}

// --- what is shown, as an address ------------------------------------------------------------------

function readView() {
	const asked = new URLSearchParams(location.search);

	for (const [name, value] of Object.entries(DEFAULTS))
		view[name] = asked.get(name) ?? value;
	if (!SPANS[view.span])
		view.span = DEFAULTS.span;
}

function addressOf(changes) {
	const asked = new URLSearchParams();

	for (const [name, value] of Object.entries({...view, ...changes}))
		if (value !== DEFAULTS[name])
			asked.set(name, value);
	return asked.size ? `?${asked}` : location.pathname;
}

// Show the view of the address, which has changed.
function showAddress() {
	readView();
	showForm();
	ask();
}

function go(address) {
	history.pushState(null, '', address);
	showAddress();
}

// A link to another view of this page. A click with a modifier key does what it does elsewhere.
function link(text, changes) {
	const node = element('a', {}, text);

	node.addEventListener('click', (event) => {
		if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)
			return;
		event.preventDefault();
		go(node.getAttribute('href'));
	});
	node.setAttribute('href', addressOf(changes));
	return node;
}

// --- questions -------------------------------------------------------------------------------------

async function fetchAnswer(path, parameters) {
	const query = new URLSearchParams(parameters);
	const response = await fetch(query.size ? `${path}?${query}` : path,
		{cache: 'no-cache', signal: AbortSignal.timeout(WAIT_MS)});
	const answer = await response.json();

	if (!response.ok)
		throw Object.assign(new Error(answer.error), {status: response.status});
	// With very many networks, the exporter gives an answer again for a while.
	answer.age = Number(response.headers.get('Age'));
	return answer;
}

// The service or listener that the view is of.
function target() {
	if (view.listener)
		return {listener: view.listener};
	if (view.service)
		return {service: view.service};
	const services = last.status.status.listeners.map((listener) => listener.service);

	return {service: services.includes('SMTP') || !services.length ? 'SMTP' : services[0]};
}

// The listeners of a target.
function listenersOf(of) {
	return last.status.status.listeners
		.filter((listener) => of.listener ? listener.name === of.listener : listener.service === of.service);
}

// What is asked of the windows of time: such as '60,1' and, after a blank, which of them.
function windowAsked() {
	const [window, range] = view.window.split(' ');
	const ranges = {before: {from: 1, to: 1}, all: {to: window.split(',')[1]}, smooth: {smooth: 1}};

	return window ? {window, ...ranges[range]} : {};
}

async function askNetworks() {
	const asked = {...target(), v4: view.v4, v6: view.v6, limit: view.limit, ...windowAsked()};

	if (view.family)
		asked.family = view.family;
	if (view.within)
		asked.within = view.within;
	try {
		return {answer: await fetchAnswer('api/networks', asked)};
	} catch (error) {
		if (error.status !== 400 && error.status !== 404)
			throw error;
		return {wrong: error.message};
	}
}

// The network that the map is of: that of the view, with a whole number of bytes.
function mapBase() {
	const all = view.family === 'ipv6' ? '::/0' : '0.0.0.0/0';
	const network = parseNetwork(view.within || all);
	const longest = network.family === 'ipv4' ? 24 : 56;
	const length = Math.min(longest, network.length & ~7);

	return parseNetwork(networkAround(network, length));
}

async function askMap() {
	if (!view.map)
		return null;
	const base = mapBase();

	return fetchAnswer('api/networks', {
		...target(), ...windowAsked(), within: networkAround(base, base.length), limit: 256,
		[base.family === 'ipv4' ? 'v4' : 'v6']: base.length + 8,
	});
}

async function askRefused() {
	const limited = last.status.status.listeners.some((listener) => listener.limits.length);

	return limited ? fetchAnswer('api/refused', {}) : null;
}

async function askHistory() {
	const {step, limit} = SPANS[view.span];
	const asked = {step, limit, ...(view.listener && {listener: view.listener})};

	try {
		return await fetchAnswer('api/history', asked);
	} catch (error) {
		if (error.status !== 404)
			throw error;
		return null;
	}
}

async function askAll(mine) {
	const status = await fetchAnswer('api/status', {});
	const now = performance.now();

	if (mine !== round)
		return;
	last.status = status;
	const hour = now - last.hourAt < HOUR_MS ? last.hour
		: await fetchAnswer('api/history', {limit: 60});
	const [networks, history, refused] = await Promise.all([askNetworks(), askHistory(), askRefused()]);
	const map = networks.wrong ? null : await askMap();

	if (mine !== round)
		return;
	if (hour !== last.hour)
		last.hourAt = now;
	Object.assign(last, {networks, history, refused, hour, map});
	show();
}

// Ask now, and again after each answer, unless nobody looks.
async function ask() {
	const mine = ++round;

	clearTimeout(timer);
	try {
		await askAll(mine);
	} catch (error) {
		if (mine === round)
			showFailure(error);
	}
	if (mine === round && !paused && !document.hidden)
		timer = setTimeout(ask, POLL_MS);
}

// --- showing: what is wrong ------------------------------------------------------------------------

function showAlarm(title, reasons) {
	const alarm = find('alarm');
	const lines = title ? [title, ...reasons] : [];

	// A screen reader reads what changes.
	showAll(alarm, lines, (line) => line, (line) => element('p', {}, line), () => {});
	alarm.hidden = !title;
}

function showVerdict(text, bad) {
	setText(find('verdict'), text);
	find('verdict').classList.toggle('bad', bad);
}

function showFailure(error) {
	const why = error.status ? error.message
		: `The exporter does not answer: ${error.message} (is conncount-exporter.service running?)`;

	showVerdict(error.status ? 'Cannot read the counts' : 'No answer', true);
	showAlarm('What is below is old, or missing', [why]);
	document.title = 'conncount: no counts';
}

function showExactness() {
	const {reasons} = last.status;

	showVerdict(reasons.length ? 'Counts are not exact' : 'Counts are exact', reasons.length > 0);
	showAlarm(reasons.length ? 'Counts are not exact' : '', reasons);
}

// --- showing: listeners -----------------------------------------------------------------------------

// The path of a curve in a drawing of this size; null values leave a gap.
function curvePath(values, most, width, height) {
	const step = width / Math.max(1, values.length - 1);
	let path = '', open = false;

	values.forEach((value, i) => {
		if (value === null) {
			open = false;
			return;
		}
		const at = `${(i * step).toFixed(1)} ${(height - value / most * height).toFixed(1)}`;

		path += open ? `L${at}` : `M${at}h.1`;
		open = true;
	});
	return path;
}

function curveText(values) {
	const known = values.filter((value) => value !== null);

	return known.length ? `least ${whole.format(Math.min(...known))}, most ${whole.format(Math.max(...known))}`
		: 'nothing is known yet';
}

function showSpark(spark, name) {
	const curve = last.hour?.listeners.find((listener) => listener.name === name);
	const values = curve ? curve.sessions : [];

	setAttribute(spark, 'aria-label', `last hour: ${curveText(values)}`);
	setAttribute(spark.firstChild, 'd', curvePath(values, Math.max(1, ...values), 120, 22));
}

function waitingOf(name) {
	const queues = (last.status.queues || []).filter((queue) => queue.listener === name);

	return {
		waiting: queues.reduce((sum, queue) => sum + queue.waiting, 0),
		limit: queues.reduce((sum, queue) => sum + queue.limit, 0),
		n: queues.length,
	};
}

function createListener() {
	const spark = drawing('svg', {class: 'spark', viewBox: '0 -1 120 24', role: 'img', preserveAspectRatio: 'none'});

	spark.append(drawing('path', {class: 'stroke'}));
	return element('tr', {}, element('th', {scope: 'row'}), element('td'),
		element('td', {class: 'number'}), element('td', {}, spark),
		...Array.from({length: 6}, () => element('td', {class: 'number'})), element('td'));
}

function updateListener(row, listener) {
	const [name, service, sessions, spark, ipv4, ipv6, queue, opened, uncounted, lost, address] = row.children;
	const {waiting, limit, n} = waitingOf(listener.name);
	const chosen = view.listener === listener.name;

	if (!name.firstElementChild)
		name.append(link(listener.name, {}));
	setAttribute(name.firstElementChild, 'href', addressOf({listener: listener.name, service: ''}));
	setAttribute(name.firstElementChild, 'aria-current', chosen ? 'true' : null);
	row.classList.toggle('chosen', chosen);
	setText(service, listener.service);
	setText(sessions, whole.format(listener.live));
	showSpark(spark.firstChild, listener.name);
	setText(ipv4, whole.format(listener.ipv4.live));
	setText(ipv6, whole.format(listener.ipv6.live));
	setText(queue, n ? `${whole.format(waiting)} of ${whole.format(limit)}` : last.status.queues ? 'no socket' : '?');
	setText(opened, whole.format(listener.opened));
	setText(uncounted, whole.format(listener.uncounted));
	setText(lost, whole.format(listener.lost));
	uncounted.classList.toggle('wrong-number', listener.uncounted > 0);
	lost.classList.toggle('wrong-number', listener.lost > 0);
	setText(address, listener.active ? listener.listen.join(' ') : 'no longer configured');
}

function showListeners() {
	const {status, queues_why: why} = last.status;

	showAll(find('listeners').tBodies[0], status.listeners, (listener) => listener.name,
		createListener, updateListener);
	find('queues-why').hidden = !why;
	setText(find('queues-why'), `Accept queues: ${why}`);
}

// --- showing: what the view is of ---------------------------------------------------------------------

function showForm() {
	for (const name of ['family', 'v4', 'v6', 'within'])
		if (document.activeElement !== find(name) || !find(name).value)
			find(name).value = view[name];
	find('map').open = view.map !== '';
	for (const radio of document.querySelectorAll('#span input'))
		radio.checked = radio.value === view.span;
}

// The options for what there is to choose: services and listeners.
function showTargets() {
	const {status, nodes} = last.status;
	const services = [...new Set(status.listeners.map((listener) => listener.service))];
	const of = target();

	if (nodes)
		services.push('inbound_cidr');
	for (const service of [of.service].filter((name) => name && !services.includes(name)))
		services.push(service);
	const groups = [
		{label: 'Services', kind: 'service', names: services},
		{label: 'Listeners', kind: 'listener', names: status.listeners.map((listener) => listener.name)},
	];

	showAll(find('of'), groups, (group) => group.kind, (group) => element('optgroup', {label: group.label}),
		(node, group) => showAll(node, group.names, (name) => name,
			(name) => element('option', {value: `${group.kind} ${name}`}, name), () => {}));
	const value = of.listener ? `listener ${of.listener}` : `service ${of.service}`;

	if (document.activeElement !== find('of') && find('of').value !== value)
		find('of').value = value;
}

// A number of seconds in the largest unit that it is a whole number of.
function duration(seconds) {
	const [size, unit] = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']].find(([size]) => seconds % size === 0);

	return `${seconds / size} ${unit}`;
}

// What can be counted of a window: which windows of it are added up.
function windowChoices(window) {
	const [seconds, more] = window.split(',').map(Number);
	const length = duration(seconds);
	const choices = [{value: window, text: `opened in the current ${length}`}];

	if (more)
		choices.push({value: `${window} before`, text: `opened in the ${length} before`},
			{value: `${window} smooth`, text: `opened in the last ${length}, estimated`},
			{value: `${window} all`, text: `opened in ${more + 1} times ${length}`});
	return choices;
}

// The options for what is counted, where windows are configured.
function showCounted() {
	const configured = (last.status.status.windows?.configured || []).map(({window}) => window);
	const choices = [{value: '', text: 'open sessions'}, ...configured.flatMap(windowChoices)];
	const select = find('counted');

	if (!choices.some(({value}) => value === view.window))
		choices.push({value: view.window, text: `opened in ${view.window}`});
	find('counted-label').hidden = choices.length < 2;
	showAll(select, choices, ({value}) => value, ({value, text}) => element('option', {value}, text), () => {});
	if (document.activeElement !== select)
		select.value = view.window;
}

// What the numbers of networks are of.
function unit() {
	return view.window ? 'connections' : 'sessions';
}

// --- showing: the curve ------------------------------------------------------------------------------

// The curve of the target: of a listener, or of all listeners of a service.
function curveOf(history) {
	const names = new Set(listenersOf(target()).map((listener) => listener.name));
	const curves = history.listeners.filter((listener) => names.has(listener.name));
	const sum = (values) => values.every((value) => value === null) ? null
		: values.reduce((all, value) => all + (value || 0), 0);
	const added = (member) => Array.from({length: history.steps}, (_, i) =>
		sum(curves.map((curve) => curve[member][i])));

	return {sessions: added('sessions'), opened: added('opened')};
}

function showCurve() {
	const {history} = last;
	const svg = find('curve');

	if (!history) {
		svg.replaceChildren();
		setText(find('curve-text'), 'Nothing is known of it yet.');
		return;
	}
	const {sessions, opened} = curveOf(history);
	const most = Math.max(1, ...sessions);
	const begin = new Date((history.end - (history.steps - 1) * history.step) * 1000);
	const end = new Date(history.end * 1000);
	const format = history.step === 1 ? clock : minutes;
	const width = svg.clientWidth || 800; // so that text has its size on a phone, too
	const graph = drawing('g', {transform: 'translate(0 20)'});

	setAttribute(svg, 'viewBox', `0 0 ${width} 180`);
	graph.append(drawing('path', {class: 'grid', d: `M0 0H${width}M0 65H${width}M0 130H${width}`}),
		drawing('path', {class: 'stroke', d: curvePath(sessions, most, width, 130)}));
	svg.replaceChildren(graph,
		drawing('text', {x: 4, y: 14}, whole.format(most)),
		drawing('text', {x: 4, y: 170}, format.format(begin)),
		drawing('text', {x: width - 4, y: 170, 'text-anchor': 'end'}, format.format(end)));
	const began = opened.reduce((all, value) => all + (value || 0), 0);

	setText(find('curve-text'), `Of ${format.format(begin)} to ${format.format(end)}: ${curveText(sessions)} ` +
		`sessions; ${whole.format(began)} were opened.`);
}

// --- showing: the map ---------------------------------------------------------------------------------

const SIDE = 16; // cells, of the map: one for each value of a byte

// Where the Hilbert curve is after this many steps.
function hilbert(step) {
	let x = 0, y = 0;

	for (let side = 1; side < SIDE; side *= 2) {
		const right = step >> 1 & 1, up = (step ^ right) & 1;

		if (!up) {
			if (right)
				[x, y] = [side - 1 - x, side - 1 - y];
			[x, y] = [y, x];
		}
		x += side * right;
		y += side * up;
		step >>= 2;
	}
	return {x, y};
}

// The cells are made once; `here` is the one that the pointer or the keyboard is at.
const map = {cells: [], at: new Map(), here: 0};

function makeMap() {
	for (let i = 0; i < SIDE * SIDE; i++) {
		const {x, y} = hilbert(i);

		map.cells.push(drawing('rect', {x, y, width: 1, height: 1}));
		map.at.set(`${x} ${y}`, i);
		map.cells[i].addEventListener('pointermove', () => moveTo(i));
		map.cells[i].addEventListener('click', () => enterCell(i));
	}
	find('cells').append(...map.cells);
}

function cellNetwork(i) {
	const base = mapBase();
	const bytes = [...base.bytes];

	bytes[base.length / 8] = i;
	return {...base, bytes, length: base.length + 8};
}

function cellCount(i) {
	const {length, bytes} = cellNetwork(i);
	const cidr = `${formatAddress(bytes)}/${length}`;

	return {cidr, count: last.map?.entries.find((entry) => entry.cidr === cidr)?.count || 0};
}

function moveTo(i) {
	map.cells[map.here].classList.remove('here');
	map.here = i;
	map.cells[i].classList.add('here');
	const {cidr, count} = cellCount(i);

	setText(find('cell'), `${cidr}: ${whole.format(count)} ${unit()}`);
}

function enterCell(i) {
	const changes = viewInside(cellNetwork(i), cellCount(i).cidr);

	if (changes)
		go(addressOf(changes));
}

function moveByKey(event) {
	const {x, y} = hilbert(map.here);
	const moves = {
		ArrowLeft: [x - 1, y], ArrowRight: [x + 1, y], ArrowUp: [x, y - 1], ArrowDown: [x, y + 1],
	};
	const to = map.at.get(moves[event.key]?.join(' '));

	if (event.key === 'Enter')
		enterCell(map.here);
	if (moves[event.key])
		event.preventDefault();
	if (to !== undefined)
		moveTo(to);
}

function showMap() {
	if (!last.map)
		return;
	const entries = last.map.entries;
	const most = Math.log1p(Math.max(1, ...entries.map((entry) => entry.count)));
	const byte = mapBase().length / 8;
	const counts = new Map(entries.map((entry) => [parseNetwork(entry.cidr).bytes[byte], entry.count]));

	map.cells.forEach((cell, i) => {
		const count = counts.get(i) || 0;

		setAttribute(cell, 'fill-opacity', count ? (.2 + .8 * Math.log1p(count) / most).toFixed(2) : 0);
	});
	moveTo(map.here);
}

// --- showing: networks -------------------------------------------------------------------------------

function showPath() {
	const network = view.within && parseNetwork(view.within);
	const parts = [{text: 'all networks', changes: {within: '', v4: DEFAULTS.v4, v6: DEFAULTS.v6}}];

	if (network) {
		const lengths = STEPS_DOWN[network.family].filter((length) => length < network.length);

		for (const length of [...lengths, network.length]) {
			const text = networkAround(network, length);

			parts.push({text, changes: viewInside({...network, length}, text) || {}});
		}
	}
	const nodes = parts.map((part, i) => {
		const node = link(part.text, part.changes);

		if (i === parts.length - 1)
			node.setAttribute('aria-current', 'location');
		return node;
	});
	const focused = [...find('path').children].indexOf(document.activeElement);

	find('path').replaceChildren(...nodes.flatMap((node, i) => i ? [' › ', node] : [node]));
	if (focused >= 0)
		find('path').children[Math.min(focused, nodes.length - 1)].focus();
}

async function copy(text) {
	try {
		await navigator.clipboard.writeText(text);
		setText(find('copied'), `Copied: ${text}`);
	} catch {
		// Only pages of this host, or with TLS, may write there.
		setText(find('copied'), `The browser does not let this page copy. The text is: ${text}`);
	}
}

// What copies a network, and the text that it copies.
const COPIES = [
	{name: 'text', title: 'Copy as text', textOf: (entry) => entry.cidr},
	{name: 'limit', title: 'Copy as a limit line', textOf: limitLine},
	{name: 'nft', title: 'Copy as an nft command', textOf: nftCommands},
];

// A network as the heading of a row: a link to those inside of it, unless it is an address.
function createHead(cidr) {
	return element('th', {scope: 'row'}, viewInside(parseNetwork(cidr), cidr) ? link(cidr, {}) : cidr);
}

function updateHead(head, cidr, changes = {}) {
	if (head.firstElementChild)
		setAttribute(head.firstElementChild, 'href', addressOf({...viewInside(parseNetwork(cidr), cidr), ...changes}));
}

function createEntry(entry) {
	const copies = element('td', {});
	const row = element('tr', {},
		createHead(entry.cidr),
		element('td', {class: 'number'}),
		element('td', {}, element('meter', {min: 0, max: 1, 'aria-label': 'share'}), ' ', element('span')),
		copies);

	for (const {name, title, textOf} of COPIES) {
		const button = element('button', {type: 'button', 'aria-label': `${title}: ${entry.cidr}`}, name);

		button.addEventListener('click', () => copy(textOf(row.entry)));
		copies.append(button, ' ');
	}
	return row;
}

// A count, and between what it is if it is not exact.
function countText({count, exact, least, most}) {
	if (exact !== false)
		return whole.format(count);
	return `${whole.format(count)} (${whole.format(least)} ${most === null ? 'or more' : `to ${whole.format(most)}`})`;
}

function updateEntry(row, entry) {
	const [name, count, share, copies] = row.children;
	const {total} = last.networks.answer;
	const part = total ? entry.count / total : 0;

	row.entry = entry;
	updateHead(name, entry.cidr);
	setText(count, countText(entry));
	setAttribute(share.firstElementChild, 'value', part.toFixed(3));
	setText(share.lastElementChild, percent.format(part));
	// Limits are of open sessions.
	copies.children[1].hidden = view.window !== '';
}

function showWrong(text) {
	find('wrong').hidden = !text;
	setText(find('wrong'), text || '');
	setAttribute(find('within'), 'aria-invalid', text ? 'true' : null);
}

function showSort() {
	for (const head of document.querySelectorAll('#entries [data-sort]'))
		setAttribute(head, 'aria-sort', head.dataset.sort !== view.sort ? null
			: view.sort === 'count' ? 'descending' : 'ascending');
}

function showNetworks() {
	const {answer, wrong} = last.networks;

	showWrong(wrong);
	showPath();
	showSort();
	if (wrong)
		return;
	const entries = view.sort === 'network' ? [...answer.entries].sort(compareNetworks) : answer.entries;

	showAll(find('entries').tBodies[0], entries, (entry) => entry.cidr, createEntry, updateEntry);
	setText(find('unit'), view.window ? 'Connections' : 'Sessions');
	setText(find('inexact'), answer.reason || '');
	setText(find('summary'), `${whole.format(entries.length)} of ${whole.format(answer.prefixes)} networks, ` +
		`with ${whole.format(answer.total)} ${unit()} in all` +
		(answer.age > 2 ? `; ${whole.format(answer.age)} seconds ago.` : '.'));
	find('more').hidden = answer.prefixes <= entries.length || entries.length >= MOST;
	document.title = `${whole.format(answer.total)} ${unit()} - conncount`;
}

// --- showing: the rest -------------------------------------------------------------------------------

function showCluster() {
	const nodes = last.status.nodes?.nodes || [];
	const {cluster} = last.status.status;
	const seconds = (ms) => ms === null ? 'never' : `${(ms / 1000).toFixed(1)} s`;

	showTable(find('cluster'), nodes.map((node) => [
		node.self ? `${node.name} (this host)` : node.name, node.exact ? node.state : `${node.state}, not exact`,
		whole.format(node.sessions), whole.format(node.networks), seconds(node.age_ms), `${whole.format(node.lag_ms)} ms`,
	]));
	if (cluster)
		setText(find('cluster-summary'), `${cluster.name}: ${whole.format(cluster.nodes)} nodes, ` +
			`${whole.format(cluster.sessions)} sessions on the others.`);
}

function showLimits() {
	showTable(find('limits'), last.status.status.listeners.flatMap((listener) =>
		(listener.limits || []).map((limit) => [
			listener.name, limit.limit, whole.format(limit.refused), whole.format(limit.would_refuse),
			limit.in_force ? 'yes' : `no: ${limit.reason}`,
		])));
	const ungated = last.status.status.namespaces_without_syn_gate;

	find('ungated').hidden = !ungated.length;
	setText(find('ungated'), `No SYN gate in network namespace ${ungated.slice(0, 20).join(', ')}` +
		(ungated.length > 20 ? ` and ${whole.format(ungated.length - 20)} others` : '') +
		': clients over a limit wait there instead of being refused (attach one: conncount load).');
}

function createRefused({cidr, listener}) {
	return element('tr', {}, createHead(cidr), element('td', {}, listener),
		element('td', {class: 'number'}), element('td', {class: 'number'}), element('td'));
}

function updateRefused(row, entry) {
	const [name, , refused, wouldRefuse, time] = row.children;
	const age = entry.age_ms + last.refused.age * 1000;

	updateHead(name, entry.cidr, {listener: entry.listener, service: ''});
	setText(refused, whole.format(entry.refused));
	setText(wouldRefuse, whole.format(entry.would_refuse));
	setText(time, (age < HALF_DAY_MS ? clock : day).format(new Date(Date.now() - age)));
}

function showRefused() {
	const {entries, networks} = last.refused || {entries: []};

	find('refused').hidden = !entries.length;
	showAll(find('refused').querySelector('tbody'), entries, (entry) => `${entry.cidr} ${entry.listener}`,
		createRefused, updateRefused);
	setText(find('refused-summary'), `${whole.format(entries.length)} of ${whole.format(networks || 0)} networks.`);
}

function showProxied() {
	const numbers = ({awaiting, unidentified, proxied: p}) =>
		[awaiting, unidentified, p.identified, p.own, p.absent, p.malformed, p.split, p.unread];

	showTable(find('proxied'), last.status.status.listeners
		.filter((listener) => listener.has_proxies)
		.map((listener) => [listener.name, ...numbers(listener).map((number) => whole.format(number))]));
}

function showWindows() {
	const {windows} = last.status.status;

	showTable(find('windows'), (windows?.configured || []).map((window) =>
		[window.window, whole.format(window.error)]));
	if (windows)
		setText(find('windows-summary'), `${whole.format(windows.networks)} of ` +
			`${whole.format(windows.max_networks)} networks, ${whole.format(windows.evicted)} evicted.`);
}

function showInstance() {
	const {status} = last.status;
	const facts = [
		['Counting since', status.counting_since ? day.format(new Date(status.counting_since)) : 'unknown'],
		['Instance', status.dir], ['cgroup', status.cgroup],
		['Build', `${status.build}, kernel ${status.kernel}`],
		['Table', `${whole.format(status.nodes)} of ${whole.format(status.max_prefixes)} networks`],
	];

	if ((status.outside || []).length)
		facts.push(['Not counted', status.outside.map((socket) => `${socket.socket} (${socket.listener})`).join(', ') +
			': these sockets are outside of the cgroup (conncount status says more)']);
	showAll(find('instance'), facts.flatMap(([name, value]) => [['dt', name, name], ['dd', name, value]]),
		([kind, name]) => `${kind} ${name}`, ([kind]) => element(kind), (node, [, , text]) => setText(node, text));
}

function show() {
	showExactness();
	showListeners();
	showTargets();
	showCounted();
	showCurve();
	showMap();
	showNetworks();
	showCluster();
	showLimits();
	showRefused();
	showProxied();
	showWindows();
	showInstance();
	setText(find('updated'), `Read at ${clock.format(new Date())}`);
}

// --- what the reader does -----------------------------------------------------------------------------

function changed(name) {
	const field = find(name);
	const value = field.value.trim();

	if (field.reportValidity() && value !== view[name])
		go(addressOf({[name]: value}));
}

function start() {
	find('view').addEventListener('submit', (event) => event.preventDefault());
	for (const name of ['family', 'v4', 'v6', 'within'])
		find(name).addEventListener('change', () => changed(name));
	find('of').addEventListener('change', () => {
		const [kind, ...name] = find('of').value.split(' ');

		go(addressOf({service: '', listener: '', [kind]: name.join(' ')}));
	});
	find('counted').addEventListener('change', () => go(addressOf({window: find('counted').value})));
	find('span').addEventListener('change', (event) => go(addressOf({span: event.target.value})));
	makeMap();
	find('cells').addEventListener('keydown', moveByKey);
	find('map').addEventListener('toggle', () => {
		if (find('map').open !== (view.map !== ''))
			go(addressOf({map: find('map').open ? '1' : ''}));
	});
	find('more').addEventListener('click', () => go(addressOf({limit: String(MOST)})));
	for (const head of document.querySelectorAll('#entries [data-sort]'))
		head.firstElementChild.addEventListener('click', () => go(addressOf({sort: head.dataset.sort})));
	find('pause').addEventListener('click', () => {
		paused = !paused;
		setAttribute(find('pause'), 'aria-pressed', paused);
		if (paused)
			clearTimeout(timer);
		else
			ask();
	});
	// Up by one level, from wherever it does nothing else.
	document.addEventListener('keydown', (event) => {
		if (event.key === 'Escape' && view.within && !event.target.closest('input, select'))
			find('path').querySelector('a:nth-last-of-type(2)').click();
	});
	document.addEventListener('visibilitychange', () => {
		if (!document.hidden && !paused)
			ask();
		else
			clearTimeout(timer);
	});
	addEventListener('popstate', showAddress);
	showAddress();
}

start();
