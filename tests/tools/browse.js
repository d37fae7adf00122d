// SPDX-License-Identifier: BSD-2-Clause
//
// usage: node browse.js PLAYWRIGHT AXE BASE VISIT [ARGUMENT...]
//
// Visit the exporter's page with Chromium, and compare what it shows with what conncount prints. The
// page must not write to the console, ask another host, or break a rule of axe-core. VISIT is one of
// those at the end of this file.
'use strict';

const {execFileSync, spawnSync} = require('child_process');
const fs = require('fs');
const net = require('net');
const [playwright, axe, base, visit, ...words] = process.argv.slice(2);
const {chromium} = require(playwright);
const found = []; // what is wrong

function check(what, got, want) {
	const [a, b] = [JSON.stringify(got), JSON.stringify(want)];

	if (a !== b)
		found.push(`${what}: ${a}, not ${b}`);
}

// What conncount prints; it fails where counts are not exact.
const ask = (...args) => JSON.parse(spawnSync('conncount', [...args, '--json']).stdout);
const number = (text) => Number(text.replaceAll(',', ''));

// Forget what Chromium says of answers with this status, which are meant to be.
function forgive(status) {
	found.splice(0, found.length, ...found.filter((text) => !text.includes(`responded with a status of ${status} `)));
}

// Repeat a function until what it returns is right, or 20 s have passed.
async function eventually(what, get, want) {
	const end = Date.now() + 20000;
	let got;

	do {
		got = await get();
		if (JSON.stringify(got) === JSON.stringify(want()))
			return;
		await new Promise((resolve) => setTimeout(resolve, 100));
	} while (Date.now() < end);
	check(what, got, want());
}

const cells = (page, table, columns) => page.locator(`${table} tbody tr`).evaluateAll((rows, wanted) =>
	rows.map((row) => wanted.map((i) => row.children[i].textContent)), columns);

// The networks that the page shows, in its order.
const networks = async (page) => (await cells(page, '#entries', [0, 1])).map(([cidr, count]) => ({cidr, count: number(count)}));

async function accessible(page, what) {
	// The page's own policy does not let a script in; the debugger does.
	await page.evaluate(fs.readFileSync(`${axe}/axe.min.js`, 'utf8'));
	const {violations} = await page.evaluate(() => globalThis.axe.run());

	for (const {id, help, nodes} of violations)
		found.push(`${what}: axe-core: ${id}: ${help}: ${nodes.map((node) => node.html.slice(0, 120)).join(' ')}`);
	const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

	if (wide > 0)
		found.push(`${what}: ${wide} pixels wider than the screen`);
}

// What becomes of a connection to this server from this address.
function connects(server, from) {
	const [host, port] = server.split(' ');

	return new Promise((resolve) => {
		const socket = net.connect({host, port: Number(port), localAddress: from});

		socket.on('connect', () => socket.destroy() && resolve('connected'));
		socket.on('error', (error) => resolve(error.code));
	});
}

async function withPage(options, use) {
	const browser = await chromium.launch({executablePath: '/usr/bin/chromium', args: ['--no-sandbox']});
	const context = await browser.newContext({
		locale: 'en-US', timezoneId: 'America/St_Johns', bypassCSP: false, viewport: {width: 1200, height: 1000}, ...options,
	});
	const page = await context.newPage();

	page.on('console', (message) => found.push(`console: ${message.text()}`));
	page.on('pageerror', (error) => found.push(`error: ${error.stack}`));
	page.on('request', (request) => {
		if (!request.url().startsWith(base))
			found.push(`asks ${request.url()}`);
	});
	try {
		await use(page, context);
	} finally {
		await browser.close();
	}
}

async function open(page, address) {
	await page.goto(base + address);
	await page.locator('#entries tbody tr').first().waitFor();
}

const visits = {
	// What is counted exactly. WORDS: an address to connect to; a file for a picture, or none.
	async exact([server, picture]) {
		await withPage({}, async (page, context) => {
			await context.grantPermissions(['clipboard-read', 'clipboard-write']);
			await open(page, '/');
			check('verdict', await page.textContent('#verdict'), 'Counts are exact');
			check('alarm', await page.isVisible('#alarm'), false);
			check('what is not configured', await page.locator('#refused, #limits, #proxied, #windows, #cluster, #counted').filter({visible: true}).count(), 0);
			page.on('request', (request) => request.url().includes('refused') && found.push('asks for what limits refused, without any'));
			check('listeners', (await cells(page, '#listeners', [0, 1, 2, 4, 5])).map((row) => [...row.slice(0, 2), ...row.slice(2).map(number)]),
				ask('status').listeners.map((l) => [l.name, l.service, l.live, l.ipv4.live, l.ipv6.live]));
			check('networks', await networks(page), ask('list', '-4', '24', '-6', '64').entries);
			check('title', await page.title(), `${ask('list').total} sessions - conncount`);
			const since = new Date(ask('status').counting_since);

			check('time zone', await page.textContent('#instance dd'),
				new Intl.DateTimeFormat('en-US', {dateStyle: 'medium', timeStyle: 'long', timeZone: 'America/St_Johns'}).format(since));
			await accessible(page, 'all networks');
			if (picture)
				await page.screenshot({path: picture});

			// Down the tree, and up again.
			await page.click('#entries a >> text="10.1.2.0/24"');
			await page.locator('#entries th >> text="10.1.2.3/32"').waitFor();
			check('address', new URL(page.url()).search, '?v4=32&within=10.1.2.0%2F24');
			check('inside', await networks(page), ask('list', '-4', '32').entries.filter((entry) => entry.cidr.startsWith('10.1.2.')));
			check('path', await page.locator('#path a').allTextContents(),
				['all networks', '10.0.0.0/8', '10.1.0.0/16', '10.1.2.0/24']);
			await page.click('#path a >> text="10.0.0.0/8"');
			await eventually('the middle', () => networks(page), () => ask('list', '-4', '16').entries.filter((entry) => entry.cidr.startsWith('10.')));
			await page.goBack();
			await page.locator('#entries th >> text="10.1.2.3/32"').waitFor();
			await page.keyboard.press('Escape');
			await eventually('a level up', () => networks(page), () => ask('list', '-4', '24').entries.filter((entry) => entry.cidr.startsWith('10.1.')));

			// A deep link, sorted by address.
			await open(page, '/?service=submission&v4=32&v6=128&sort=network');
			check('by address', (await networks(page)).map((entry) => entry.cidr), ['10.1.2.3/32', '10.7.7.7/32', '10.20.0.1/32']);
			check('sorted', await page.getAttribute('#entries th[data-sort=network]', 'aria-sort'), 'ascending');
			await page.focus('#entries th[data-sort=count] button');
			await page.keyboard.press('Enter');
			await eventually('by sessions', () => networks(page), () => ask('list', '--service', 'submission').entries);

			// The filters.
			await page.selectOption('#of', 'listener smtp');
			await eventually('of a listener', () => networks(page), () => ask('list', '--listener', 'smtp').entries);
			await page.selectOption('#family', 'ipv6');
			await eventually('of a family', () => networks(page), () => ask('list', '--listener', 'smtp', '-6', '128').entries);
			await page.fill('#within', 'example.com');
			await page.keyboard.press('Enter');
			await page.locator('#within[aria-invalid]').waitFor();
			forgive(400);
			await page.fill('#within', '2001:db8::/32');
			await page.keyboard.press('Enter');
			await page.locator('#within:not([aria-invalid])').waitFor();

			// Without a reload, and without taking the focus.
			await open(page, '/?service=submission');
			await page.focus('#entries a >> text="10.20.0.0/24"');
			const [host, port] = server.split(' ');
			const socket = net.connect({host, port: Number(port), localAddress: '10.30.0.1'});

			await new Promise((resolve) => socket.on('connect', resolve));
			await eventually('a new session', () => networks(page), () => ask('list', '--service', 'submission', '-4', '24', '-6', '64').entries);
			check('the focus', await page.evaluate(() => document.activeElement.textContent), '10.20.0.0/24');
			check('its curve', /most [1-9]/.test(await page.textContent('#curve-text')), true);
			socket.destroy();

			// The map: each cell is a network, and a click goes into it.
			await open(page, '/?map=1');
			await page.locator('#cells rect:not([fill-opacity="0"])').first().waitFor();
			check('cells with sessions', await page.locator('#cells rect:not([fill-opacity="0"])').count(), ask('list', '-4', '8').entries.length);
			await page.focus('#cells');
			await page.keyboard.press('ArrowDown');
			check('below the first cell', await page.textContent('#cell'), '3.0.0.0/8: 0 sessions');
			await accessible(page, 'the map');
			await page.locator('#cells rect').nth(10).click();
			await eventually('inside', () => networks(page), () => ask('list', '-4', '16').entries.filter((entry) => entry.cidr.startsWith('10.')));
			await page.locator('#cells rect').nth(9).hover();
			await eventually('under the pointer', () => page.textContent('#cell'), () => '10.9.0.0/16: 31 sessions');

			// Copying.
			await open(page, '/?service=submission');
			await page.click('[aria-label="Copy as text: 10.20.0.0/24"]');
			await eventually('copied', () => page.evaluate(() => navigator.clipboard.readText()), () => '10.20.0.0/24');
			await page.click('[aria-label="Copy as a limit line: 10.20.0.0/24"]');
			await eventually('a limit', () => page.evaluate(() => navigator.clipboard.readText()), () => 'limit = /24,/64 over 2 log');

			// Copied commands refuse what they say, and no more.
			const nft = (...args) => execFileSync('nft', args, {encoding: 'utf8'});
			const copied = async (address, cidr) => {
				await open(page, address);
				await page.click(`[aria-label="Copy as an nft command: ${cidr}"]`);
				return page.evaluate(() => navigator.clipboard.readText());
			};
			const commands = await copied('/?service=submission', '10.20.0.0/24');

			check('commands for nft', commands.split('\n'), ['tcp dport 587', 'ip daddr 192.0.2.1 tcp dport { 588, 590 }']
				.map((to) => `nft insert rule inet filter input ip saddr 10.20.0.0/24 ${to} tcp flags syn / syn,ack reject with tcp reset`));
			nft('add table inet filter; add chain inet filter input { type filter hook input priority 0; policy accept; }');
			const before = await connects(server, '10.20.0.9');

			execFileSync('sh', ['-ec', commands]);
			check('before the commands, and after', [before, await connects(server, '10.20.0.9')], ['connected', 'ECONNREFUSED']);
			check('from the network beside', await connects(server, '10.20.1.9'), 'connected');
			check('what was open', ask('count', '--service', 'submission', '10.20.0.1').count, 2);
			for (const [address, cidr, to] of [
				['/?service=SMTP', '2001:db8:1::/64', 'ip6 saddr 2001:db8:1::/64 tcp dport 25'],
				['/?service=SMTP&v4=0&v6=0', '0.0.0.0/0', 'ip saddr 0.0.0.0/0 tcp dport 25'],
				['/?service=SMTP&v4=0&v6=0', '::/0', 'ip6 saddr ::/0 tcp dport 25'],
			]) {
				const command = await copied(address, cidr);

				check('a command for nft', command.split(' tcp flags ')[0], `nft insert rule inet filter input ${to}`);
				execFileSync('sh', ['-ec', command.replace(/^nft/, 'nft -c')]);
			}
			nft('delete table inet filter');

			// A page that pauses asks nothing.
			await page.click('#pause');
			await page.waitForLoadState('networkidle');
			let asked = 0;

			page.on('request', () => asked++);
			await page.waitForTimeout(5000);
			check('questions while it pauses', asked, 0);
		});
		await withPage({viewport: {width: 360, height: 740}, colorScheme: 'dark', hasTouch: true, isMobile: true}, async (page) => {
			await open(page, '/');
			await accessible(page, 'a phone');
		});
	},

	// What is not exact.
	async inexact() {
		await withPage({}, async (page) => {
			await open(page, '/');
			check('verdict', await page.textContent('#verdict'), 'Counts are not exact');
			check('alarm', /are not counted: the table of prefixes was full.*raise max_prefixes/.test(await page.textContent('#alarm')), true);
			check('role', await page.getAttribute('#alarm', 'role'), 'alert');
			await accessible(page, 'not exact');
		});
	},

	// Limits, which have refused networks of both families.
	async limited() {
		await withPage({}, async (page) => {
			await open(page, '/');
			check('limits', await cells(page, '#limits', [0, 1, 2, 3, 4]), ask('status').listeners.flatMap((listener) =>
				listener.limits.map((limit) => [listener.name, limit.limit, `${limit.refused}`, `${limit.would_refuse}`, 'yes'])));
			const {entries} = ask('refused');

			check('refused', await cells(page, '#refused', [0, 1, 2, 3]), entries.map((entry) =>
				[entry.cidr, entry.listener, `${entry.refused}`, `${entry.would_refuse}`]));
			check('refused networks', entries.map((entry) => entry.cidr), ['10.1.2.0/24', '10.1.0.0/16', '2001:db8:1::/48']);
			await accessible(page, 'refused');
			await page.click('#refused a >> text="10.1.0.0/16"');
			await eventually('inside', () => networks(page), () => ask('list', '--listener', 'smtp', '-4', '24').entries);
		});
	},

	// Windows of time.
	async windows() {
		const list = (...args) => ask('list', '--window', '86400,1', ...args).entries.map((entry) =>
			[entry.cidr, `${entry.count} (${entry.least} or more)`]);
		const shown = (page) => cells(page, '#entries', [0, 1]);

		await withPage({}, async (page) => {
			await open(page, '/');
			check('open sessions', await networks(page), ask('list', '-4', '24', '-6', '64').entries);
			check('choices', await page.locator('#counted option').allTextContents(), ['open sessions', 'opened in the current 1 d',
				'opened in the 1 d before', 'opened in the last 1 d, estimated', 'opened in 2 times 1 d']);
			await page.selectOption('#counted', 'opened in the current 1 d');
			await eventually('opened', () => shown(page), () => list('-4', '24', '-6', '64'));
			check('those that are closed, too', (await shown(page))[0], ['10.1.2.0/24', '5 (5 or more)']);
			check('address', new URL(page.url()).search, '?window=86400%2C1');
			check('reason', await page.textContent('#inexact'),
				'not exact: there may have been more: the windows reach back before counting began');
			check('title', await page.title(), '10 connections - conncount');
			check('a limit', await page.locator('[aria-label^="Copy as a limit line"]').filter({visible: true}).count(), 0);
			await accessible(page, 'a window');
			await open(page, '/?window=86400%2C1+all&v4=8&map=1');
			await eventually('a deep link', () => shown(page), () => list('--to', '1', '-4', '8', '-6', '64'));
			await page.locator('#cells rect').nth(10).hover();
			await eventually('the map', () => page.textContent('#cell'), () => '10.0.0.0/8: 7 connections');
			await page.goto(base + '/?window=60%2C1');
			await page.locator("#wrong >> text=window '60,1': not configured").waitFor();
			forgive(404);
			await page.selectOption('#counted', 'open sessions');
			await eventually('open sessions', () => networks(page), () => ask('list', '-4', '24', '-6', '64').entries);
			check('reason of exact ones', await page.textContent('#inexact'), '');
		});
	},

	// Listeners with proxies, in a network namespace without a SYN gate.
	async proxied() {
		await withPage({}, async (page) => {
			await open(page, '/');
			const {listeners, namespaces_without_syn_gate: ungated} = ask('status');
			const shown = await cells(page, '#proxied', [0, 1, 2, 3, 4, 5, 6, 7, 8]);

			check('proxied', shown, listeners.filter((listener) => listener.has_proxies).map(({name, awaiting, unidentified, proxied: p}) =>
				[name, ...[awaiting, unidentified, p.identified, p.own, p.absent, p.malformed, p.split, p.unread].map(String)]));
			check('listeners with proxies', shown.map((row) => row.slice(0, 4)), [['mx', '1', '1', '1'], ['unused', '0', '0', '0']]);
			check('networks', await networks(page), ask('list', '-4', '24', '-6', '64').entries);
			check('without a gate', (await page.textContent('#ungated')).startsWith(`No SYN gate in network namespace ${ungated[0]}: `), true);
			await accessible(page, 'proxies');
		});
	},

	// A cluster; WORDS: the state of the other node if it is not well.
	async clustered([state]) {
		await withPage({}, async (page) => {
			await open(page, '/?service=inbound_cidr');
			const nodes = () => ask('nodes').nodes.map((node) => [node.self ? `${node.name} (this host)` : node.name,
				node.exact ? node.state : `${node.state}, not exact`, String(node.sessions), String(node.networks)]);
			const {cluster, exact} = ask('nodes');

			await eventually('nodes', () => cells(page, '#cluster', [0, 1, 2, 3]), nodes);
			check('the other node', nodes()[1].slice(0, 3), ['b', state || 'ok', '5']);
			check('summary', await page.textContent('#cluster-summary'), `${cluster}: 2 nodes, 5 sessions on the others.`);
			check('of all nodes', await networks(page), ask('list', '--service', 'inbound_cidr', '-4', '24', '-6', '64').entries);
			check('verdict', await page.textContent('#verdict'), `Counts are ${exact ? '' : 'not '}exact`);
			check('alarm', (await page.textContent('#alarm')).includes("service 'inbound_cidr': not exact: "), !exact);
			check('exact', exact, !state);
			check('times', (await cells(page, '#cluster', [4, 5])).every(([seen, lag]) => /^\d+\.\d s$/.test(seen) && /^\d+ ms$/.test(lag)), true);
			await accessible(page, 'a cluster');
			await page.selectOption('#of', 'service SMTP');
			await eventually('of this node', () => networks(page), () => ask('list', '-4', '24', '-6', '64').entries);
		});
	},

	// An instance that is not loaded; WORDS: its directory.
	async unloaded([dir]) {
		await withPage({}, async (page) => {
			await page.goto(base + '/');
			await page.locator('#alarm >> text="What is below is old, or missing"').waitFor();
			check('alarm', (await page.textContent('#alarm')).includes(`${dir}: not loaded`), true);
			check('elements', await page.locator('#alarm b, #alarm img').count(), 0);
			await accessible(page, 'not loaded');
		});
		// The page asks again every second, also while it is looked at.
		forgive(503);
	},
};

visits[visit](words).catch((error) => found.push(error.stack)).finally(() => {
	for (const text of found)
		console.error(text);
	process.exit(found.length ? 1 : 0);
});
