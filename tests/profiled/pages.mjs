// Drives the pages of real programs' profiles as their reader would: node --test pages.mjs, with expected.json of
// profiled.py in the folder PAGES; leaves pictures there.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import test, { after, before } from 'node:test';

const { chromium } = createRequire(process.env.PLAYWRIGHT_FROM)('playwright-core');
const folder = path.resolve(process.env.PAGES);
const expected = JSON.parse(readFileSync(`${folder}/expected.json`, 'utf8'));
let browser;

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: process.getuid() === 0 ? ['--no-sandbox'] : [],
  });
});
after(() => browser.close());

/** Opens a file; any error in it, and any request but that for itself, fails the test. */
async function open(t, file) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: 'en-US' });
  const page = await context.newPage();
  const wrong = [];
  const requests = [];
  page.on('pageerror', (error) => wrong.push(error.message));
  page.on('console', (message) => message.type() === 'error' && wrong.push(message.text()));
  page.on('request', (request) => requests.push(request.url()));
  t.after(async () => {
    assert.deepEqual(wrong, []);
    assert.deepEqual([...new Set(requests)], [`file://${file}`]);
    await context.close();
  });
  await page.goto(`file://${file}`);
  return page;
}

/** "1,234" or "5.0 KiB" as a number. */
function size(text) {
  const [, value, prefix = ''] = /^([\d.,]+)(?: ([KMGT]?)i?B)?$/.exec(text);
  return Number(value.replaceAll(',', '')) * 1024 ** ['', 'K', 'M', 'G', 'T'].indexOf(prefix);
}

for (const [name, known] of Object.entries(expected)) {
  test(name, async (t) => {
    const page = await open(t, known.path);
    const picture = (view) => page.screenshot({ path: `${folder}/${name}-${view}.png` });
    assert.equal(await page.textContent('h1'), known.command);
    assert.ok((await page.textContent('#cards')).includes(`${known.allocations.toLocaleString('en-US')} allocations`));

    // Flame graph: search, zoom, and the way back.
    await page.selectOption('#flame-metric', { label: 'allocations' });
    const all = await page.locator('.frame').count();
    assert.ok(all > 20, `${all} frames`);
    await page.keyboard.press('/');
    await page.fill('#flame-search', known.search);
    assert.ok((await page.locator('.frame.found').count()) > 0);
    assert.match(await page.textContent('#flame-status'), /^[\d,]+ call stacks?, with [\d,]+ allocations, [\d.]+ % of all\.$/);
    await picture('flame');
    const frame = page.locator('.frame').nth(Math.min(6, all - 1));
    const root = await page.locator('.frame').first().boundingBox();
    const label = await frame.getAttribute('aria-label');
    await frame.click();
    const zoomed = page.locator('.frame', { hasText: label.split(':')[0] }).first();
    assert.ok((await zoomed.boundingBox()).width > root.width - 3, `${label} is as wide as all`);
    await page.click('#flame-reset');
    assert.equal(await page.locator('.frame').count(), all);

    // Time line.
    await page.click('#tab-timeline');
    await page.focus('#timeline-chart');
    await page.keyboard.press('ArrowLeft');
    assert.match(await page.textContent('#timeline-status'), /^after .*allocated and not freed/);
    await picture('timeline');

    // Top sites: sorted by each column, both ways.
    await page.click('#tab-sites');
    await page.selectOption('#sites-group', 'function');
    for (const [column, at] of [['allocations', 5], ['at the peak', 3], ['allocated', 4]]) {
      for (const order of ['descending', 'ascending']) {
        await page.locator('#sites-table th button').nth(at - 1).click();
        const sorted = await page.locator('#sites-table th[aria-sort]').textContent();
        assert.ok(sorted.startsWith(column), `${sorted} is ${column}`);
        const cells = await page.locator(`#sites-table tbody tr td:nth-child(${at + 1})`).allTextContents();
        // What is as large to the decimal shown may be in any order.
        const values = cells.map((text) => (text === '·' ? 0 : size(text.trim())));
        const sign = order === 'descending' ? 1 : -1;
        for (let i = 1; i < values.length; i++)
          assert.ok((values[i - 1] - values[i]) * sign >= 0, `${column} ${order}: ${cells[i - 1]}, ${cells[i]}`);
        if (order === 'descending' && column === 'allocations') await picture('sites');
      }
    }
    await page.fill('#sites-filter', known.search);
    assert.match(await page.textContent('#sites-status'), /^[1-9][\d,]* of /);

    // Leaks.
    await page.click('#tab-leaks');
    const status = await page.textContent('#leaks-status');
    if (known.leaked) {
      assert.match(status, / blocks leaked directly, /);
      assert.ok((await page.locator('.leak.direct').count()) > 0);
      assert.ok((await page.locator('.leak.direct .stack li').count()) > 1);
    } else {
      assert.equal(status, 'No leaks: everything that is live is reachable.');
    }
    await picture('leaks');

    for (const view of ['classes', 'map']) {
      await page.click(`#tab-${view}`);
      await picture(view);
    }
    assert.ok((await page.locator('#classes-table tbody tr').count()) > 3);
    assert.ok(await page.isVisible('#map-canvas canvas'));
  });

  test(`${name}, the flame graph of a script`, async (t) => {
    const page = await open(t, known.svg);
    assert.ok((await page.locator('rect').count()) > 20);
    await page.screenshot({ path: `${folder}/${name}-script.png` });
  });
}
