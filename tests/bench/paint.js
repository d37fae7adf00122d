// SPDX-License-Identifier: BSD-2-Clause
//
// usage: node paint.js PLAYWRIGHT BASE N
//
// Visit the exporter's page N times with Chromium, each time as somebody who has not seen it yet. Prints
// nanoseconds from the start of each visit to the first paint, and to the first row of the table of networks.
'use strict';

const [playwright, base, n] = process.argv.slice(2);
const {chromium} = require(playwright);
const ROW = '#entries tbody tr';

async function visit(browser) {
	const context = await browser.newContext();
	const page = await context.newPage();

	await page.goto(base);
	await page.waitForSelector(ROW);
	const [paint, row] = await page.evaluate(() => [
		performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.now()]);

	await context.close();
	console.log(Math.round(paint * 1e6), Math.round(row * 1e6));
}

async function main() {
	const browser = await chromium.launch({executablePath: '/usr/bin/chromium', args: ['--no-sandbox']});

	for (let i = 0; i < Number(n); i++)
		await visit(browser);
	await browser.close();
}

main();
