// Drives the page of `calloc report --html` as its reader would: node page_test.mjs FOLDER, with the pages
// small.html, large.html, hostile.html and sampled.html in it (test_page.py makes them), and leaves pictures there.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';
import test, { after, before } from 'node:test';

const { chromium } = createRequire(process.env.PLAYWRIGHT_FROM)('playwright-core');
const folder = path.resolve(process.env.PAGES);
let browser;

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: process.getuid() === 0 ? ['--no-sandbox'] : [],
  });
});
after(() => browser.close());

/** Opens a page; any error in it, and any request but that for its file, fails the test. */
async function open(t, name, { colorScheme = 'light', width = 1280, height = 900 } = {}) {
  const context = await browser.newContext({ colorScheme, viewport: { width, height }, locale: 'en-US' });
  const page = await context.newPage();
  const wrong = [];
  const requests = [];
  page.on('pageerror', (error) => wrong.push(error.message));
  page.on('console', (message) => message.type() === 'error' && wrong.push(message.text()));
  page.on('dialog', (dialog) => wrong.push(`a dialog: ${dialog.message()}`));
  page.on('request', (request) => requests.push(request.url()));
  t.after(async () => {
    assert.deepEqual(wrong, []);
    assert.deepEqual([...new Set(requests)], [`file://${folder}/${name}.html`]);
    await context.close();
  });
  await page.goto(`file://${folder}/${name}.html`);
  return page;
}

const shown = (page, text) => page.locator('.frame', { hasText: text });
const status = (page, view) => page.textContent(`#${view}-status`);
const press = async (page, ...keys) => {
  for (const key of keys) await page.keyboard.press(key);
};
const focused = (page) => page.evaluate(() => document.activeElement.getAttribute('aria-label') ??
  document.activeElement.id);

test('what is known at once', async (t) => {
  const page = await open(t, 'small');
  assert.equal(await page.title(), 'Heap of server');
  assert.equal(await page.textContent('h1'), 'server --port 80 <test>');
  const cards = await page.locator('#cards div').allTextContents();
  assert.deepEqual(cards.slice(0, 5), [
    'Peak29.3 KiB71 blocks, after 1.5 s', 'Live at the end4.9 KiB12 blocks',
    'Allocated in all43.9 KiB113 allocations', 'Temporary44.2 %50 blocks', 'Leaked1000 B10 blocks, 1 suppressed']);
  assert.equal(await page.locator('[role=tab][aria-selected=true]').textContent(), 'Flame graph');
});

test('flame graph: zoom, and the way back', async (t) => {
  const page = await open(t, 'small');
  assert.equal(await page.locator('.frame').count(), 7);
  const root = await shown(page, 'all').boundingBox();
  const worker = shown(page, 'server+0x3000');
  const narrow = await worker.boundingBox();
  assert.ok(Math.abs(narrow.width / root.width - 0.2) < 0.01, 'a fifth is live there');
  await worker.click();
  const wide = await worker.boundingBox();
  assert.ok(wide.width > root.width - 3);
  assert.match(await page.textContent('#flame-detail'), /1000 B live at the end, 20\.0 % of all, 100\.0 % of what is shown/);
  assert.equal(await shown(page, 'libparse').count(), 0);
  await press(page, 'Escape', 'Escape');
  assert.equal(await shown(page, 'libparse').count(), 1);
  await worker.click();
  await page.click('#flame-reset');
  assert.equal(await page.locator('.frame').count(), 7);
});

test('flame graph: by keyboard alone', async (t) => {
  const page = await open(t, 'small');
  await page.locator('.frame[tabindex="0"]').focus();
  await press(page, 'ArrowDown');
  assert.match(await focused(page), /^\[frames that were not found\]: 3\.0 KiB/);
  await press(page, 'ArrowRight');
  assert.match(await focused(page), /^server\+0x1000: 1\.9 KiB/);
  await press(page, 'ArrowDown', 'ArrowRight');
  assert.match(await focused(page), /^server\+0x2000: 900 B/);
  await press(page, 'Enter');
  assert.match(await focused(page), /^server\+0x2000: 900 B/);
  assert.equal(await shown(page, 'server+0x3000').count(), 0);
  await press(page, 'Home');
  assert.match(await focused(page), /^all/);
});

test('flame graph: search', async (t) => {
  const page = await open(t, 'small');
  await press(page, '/');
  assert.equal(await focused(page), 'flame-search');
  await page.keyboard.type('LIBPARSE');
  assert.equal(await page.locator('.frame.found').count(), 1);
  assert.equal(await status(page, 'flame'), '1 call stack, with 900 B live at the end, 18.0 % of all.');
  await page.fill('#flame-search', '/0x[23]000$/');
  assert.equal(await page.locator('.frame.found').count(), 3);
  // A stack with two of them counts once.
  assert.equal(await status(page, 'flame'), '3 call stacks, with 4.9 KiB live at the end, 100.0 % of all.');
  await page.fill('#flame-search', '/(/');
  assert.match(await status(page, 'flame'), /not a regular expression/);
  await page.fill('#flame-search', 'nothing of this name');
  assert.equal(await status(page, 'flame'), 'Nothing is called that.');
  await page.fill('#flame-search', '');
  assert.equal(await page.locator('.frame.found').count(), 0);
});

test('flame graph: other metrics and the other order', async (t) => {
  const page = await open(t, 'small');
  await page.selectOption('#flame-metric', { label: 'allocations' });
  await shown(page, 'libparse').hover();
  assert.match(await page.textContent('#flame-detail'), /100 allocations, 88\.5 % of all/);
  await page.selectOption('#flame-order', 'up');
  const box = await shown(page, 'libparse').boundingBox();
  const root = await shown(page, 'all').boundingBox();
  assert.ok(Math.abs(box.y - root.y - 20) < 2, 'the allocating function comes first');
});

test('tabs by keyboard, and the view in the address', async (t) => {
  const page = await open(t, 'small');
  await page.focus('#tab-flame');
  await press(page, 'ArrowRight');
  assert.ok(await page.isVisible('#timeline-chart svg'));
  assert.ok(!(await page.isVisible('#flame-graph')));
  await press(page, 'End');
  assert.ok(await page.isVisible('#map-canvas canvas'));
  assert.match(page.url(), /#view=map$/);
  await page.reload();
  assert.ok(await page.isVisible('#map-canvas canvas'));
  await page.focus('#tab-map');
  await press(page, 'ArrowRight');
  assert.ok(await page.isVisible('#flame-graph'));
});

test('time line', async (t) => {
  const page = await open(t, 'small');
  await page.click('#tab-timeline');
  assert.match(await status(page, 'timeline'), /^after 2 s: 20\.5 KiB allocated and not freed, 2\.8 MiB resident/);
  const box = await page.locator('#timeline-chart').boundingBox();
  await page.mouse.move(box.x + 84 + (box.width - 100) * 0.75, box.y + 100);
  assert.match(await status(page, 'timeline'), /^after 1\.5 s: 29\.3 KiB/);
  await page.focus('#timeline-chart');
  await press(page, 'ArrowLeft');
  assert.match(await status(page, 'timeline'), /^after 1\.4 s: 27\.5 KiB/);
  await page.selectOption('#timeline-metric', 'blocks');
  assert.match(await status(page, 'timeline'), /live blocks$/);
  await page.click('summary:has-text("The numbers")');
  assert.equal(await page.locator('#timeline-table tbody tr').count(), 21);
});

test('top sites: sort, filter, group, open', async (t) => {
  const page = await open(t, 'small');
  await page.click('#tab-sites');
  const names = () => page.locator('#sites-table tbody .open').allTextContents();
  assert.deepEqual(await names(), ['server+0x2000', 'server+0x3000', 'libparse.so.1+0x50']);
  await page.click('#sites-table th button:has-text("allocations")');
  assert.deepEqual(await names(), ['libparse.so.1+0x50', 'server+0x3000', 'server+0x2000']);
  assert.equal(await page.locator('th[aria-sort=descending]').textContent(), 'allocations ▾');
  await press(page, 'Enter');
  assert.equal(await page.locator('th[aria-sort=ascending]').textContent(), 'allocations ▴');
  assert.deepEqual(await names(), ['server+0x2000', 'server+0x3000', 'libparse.so.1+0x50']);
  await page.fill('#sites-filter', '0x1000');
  assert.equal((await names()).length, 2);
  await page.fill('#sites-filter', '');
  await page.click('#sites-table .open >> text=libparse');
  assert.deepEqual(await page.locator('#sites-table .stack li').allTextContents(), [
    'libparse.so.1+0x50 libparse.so.1', 'server+0x2000 server', 'server+0x1000 server']);
  await page.selectOption('#sites-group', 'module');
  assert.deepEqual(await names(), ['server', 'libparse.so.1']);
});

test('leaks', async (t) => {
  const page = await open(t, 'small');
  assert.equal(await page.locator('#tab-leaks .count').textContent(), '2');
  await page.click('#tab-leaks');
  assert.equal(await page.textContent('#leaks-status'),
    '400 B in 4 blocks leaked directly, 600 B in 6 blocks are only reachable from these.');
  assert.deepEqual(await page.locator('.leak h3').allTextContents(), [
    '400 B in 4 blocks of 100 B, direct', '600 B in 6 blocks of 100 B, indirect',
    '3.0 KiB in 1 block of 3.0 KiB, direct', '900 B in 1 block of 900 B, not freed, but reachable']);
  assert.match(await page.locator('.leak').nth(2).textContent(), /suppressed by “leak:gone_\*”/);
});

test('samples are told from counts', async (t) => {
  const page = await open(t, 'sampled');
  const cards = await page.locator('#cards div').allTextContents();
  assert.deepEqual(cards.slice(0, 5), [
    'Peak≈ 29.3 KiB≈ 71 blocks, after 1.5 s', 'Live at the end≈ 4.9 KiB≈ 12 blocks',
    'Allocated in all≈ 43.9 KiB≈ 113 allocations', 'Temporary≈ 44.2 %≈ 50 blocks', 'Leaked≈ 0 B≈ 0 blocks, 1 suppressed']);
  assert.match(cards[5], /^Resident4\.0 MiB/);
  assert.equal(await page.textContent('#warnings'), 'Samples were taken, one for about each 64.0 KiB: all numbers are estimates.');
  await page.click('#tab-leaks');
  assert.equal(await page.textContent('#leaks-status'), 'No leaks among the samples but suppressed ones: 3.0 KiB in 1 block.');
});

test('size classes and heap map', async (t) => {
  const page = await open(t, 'small');
  await page.click('#tab-classes');
  assert.equal(await page.locator('#classes-table tbody tr').count(), 2);
  await page.click('#tab-map');
  assert.match(await status(page, 'map'), /^slab at 0x7f1000000000, 64\.0 KiB, 20 of 585 blocks of 112 B live$/);
  await page.focus('#map-canvas');
  await press(page, 'ArrowRight', 'ArrowRight', 'ArrowRight');
  assert.match(await status(page, 'map'), /^free at 0x7f1000030000, 256\.0 KiB, still backed by memory$/);
});

test('names are text, whatever they hold', async (t) => {
  const page = await open(t, 'hostile');
  for (const view of ['flame', 'timeline', 'sites', 'leaks', 'classes', 'map']) await page.click(`#tab-${view}`);
  await page.click('#tab-sites');
  for (const button of await page.locator('#sites-table .open').all()) await button.click();
  await page.click('#tab-flame');
  await page.locator('.frame').nth(3).hover();
  assert.ok((await page.textContent('h1')).includes("<img src=x onerror"));
  assert.ok((await page.title()).startsWith('Heap of '));
  assert.equal(await page.locator('img').count(), 0);
});

test('dark and light', async (t) => {
  const page = await open(t, 'small', { colorScheme: 'dark' });
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  assert.equal(await theme(), 'dark');
  await page.click('#theme');
  assert.equal(await theme(), 'light');
  await page.reload();
  assert.equal(await theme(), 'light');
});

test('a large profile, and pictures of it', async (t) => {
  for (const colorScheme of ['light', 'dark']) {
    const page = await open(t, 'large', { colorScheme });
    for (const view of ['flame', 'timeline', 'sites', 'leaks', 'classes', 'map']) {
      await page.click(`#tab-${view}`);
      await page.screenshot({ path: `${folder}/${view}-${colorScheme}.png` });
    }
    await page.click('#tab-flame');
    await page.fill('#flame-search', 'libtext');
    await page.selectOption('#flame-metric', { label: 'allocations' });
    await page.screenshot({ path: `${folder}/search-${colorScheme}.png` });
    assert.ok((await page.locator('.frame.found').count()) > 20);
  }
  const page = await open(t, 'large', { width: 420, height: 800 });
  await page.screenshot({ path: `${folder}/narrow.png` });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, 'a narrow window needs no scrolling sideways');
});
