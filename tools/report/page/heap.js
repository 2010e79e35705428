// --- size classes ---------------------------------------------------------------------------

const classes = (() => {
  function start() {
    const list = profile.classes;
    const live = list.filter((size) => size.live);
    if (!list.length) {
      byId('classes-status').textContent = 'The profile has no size classes.';
      return;
    }
    const mapped = list.reduce((sum, size) => sum + size.mapped, 0);
    const used = list.reduce((sum, size) => sum + size.live * size.block_size, 0);
    byId('classes-status').textContent = `${bytesText(mapped)} of slabs and mappings, of which ${bytesText(used)} ` +
      `are in use: ${percentText(mapped - used, mapped)} are free blocks and slack around them.` +
      (live.length === list.length ? '' : ` ${countText(list.length - live.length)} sizes have no live block and are not listed.`);
    const head = element('tr', {}, ...['Block size', 'in use', 'live', 'slots', 'regions', 'mapped', 'unused']
      .map((text) => element('th', { scope: 'col' }, text)));
    const body = live.map((size) => {
      const bytes = size.live * size.block_size;
      const bar = element('i');
      bar.style.width = `${size.mapped ? (100 * bytes) / size.mapped : 0}%`;
      const meter = element('div', { className: 'meter', role: 'img', 'aria-label': `${percentText(bytes, size.mapped)} in use` }, bar);
      return element('tr', {}, element('td', {}, bytesText(size.block_size)), element('td', {}, meter),
        ...[countText(size.live), countText(size.slots), countText(size.regions), bytesText(size.mapped),
          percentText(Math.max(size.mapped - bytes, 0), size.mapped)].map((text) => element('td', {}, text)));
    });
    byId('classes-table').append(element('table', {}, element('thead', {}, head), element('tbody', {}, ...body)));
  }

  return { start };
})();

// --- heap map -------------------------------------------------------------------------------

const heapMap = (() => {
  const regions = profile.regions;
  const box = byId('map-canvas');
  const cell = 11;
  let cells = []; // of the same size each: what part of a region lies there
  let perCell = 65536;
  let columns = 1;
  let at = 0;

  // A region is as many cells as it is large, but a very large heap has larger cells.
  function layOut() {
    const total = regions.reduce((sum, region) => sum + region.length, 0);
    perCell = 65536;
    while (total / perCell > 20000) perCell *= 2;
    cells = [];
    for (const region of regions)
      for (let i = 0; i < Math.max(1, Math.ceil(region.length / perCell)); i++) cells.push(region);
  }

  const fill = (region) => (region.blocks ? region.live / region.blocks : 0);

  function colour(region, style) {
    if (region.kind === 'free') return style.getPropertyValue(region.dirty ? '--dirty' : '--line');
    // From little used, light, to full.
    const base = { slab: '--series-0', 'large block': '--series-2', mapping: '--series-3' }[region.kind] ?? '--series-1';
    return [style.getPropertyValue(base), 0.2 + 0.8 * fill(region)];
  }

  function describe(region) {
    const parts = [`${region.kind} at ${region.address}`, bytesText(region.length)];
    if (region.blocks) parts.push(`${countText(region.live)} of ${countText(region.blocks)} blocks of ${bytesText(region.block_size)} live`);
    if (region.kind === 'free') parts.push(region.dirty ? 'still backed by memory' : 'given back to the system');
    return parts.join(', ');
  }

  function draw() {
    if (!regions.length) {
      box.replaceChildren(element('p', { className: 'empty' }, 'The profile has no heap map.'));
      return;
    }
    if (!cells.length) layOut();
    const style = getComputedStyle(document.documentElement);
    columns = Math.max(1, Math.floor((box.clientWidth - 16) / cell));
    const rows = Math.ceil(cells.length / columns);
    const scale = window.devicePixelRatio || 1;
    const canvas = element('canvas', { width: columns * cell * scale, height: rows * cell * scale });
    canvas.style.width = `${columns * cell}px`;
    canvas.style.height = `${rows * cell}px`;
    const context = canvas.getContext('2d');
    context.scale(scale, scale);
    cells.forEach((region, i) => {
      const made = colour(region, style);
      context.globalAlpha = Array.isArray(made) ? made[1] : 1;
      context.fillStyle = Array.isArray(made) ? made[0] : made;
      context.fillRect((i % columns) * cell, Math.floor(i / columns) * cell, cell - 1, cell - 1);
    });
    const outline = (index) => {
      at = Math.min(Math.max(index, 0), cells.length - 1);
      byId('map-status').textContent = describe(cells[at]);
    };
    canvas.addEventListener('mousemove', (event) => {
      const index = Math.floor(event.offsetY / cell) * columns + Math.floor(event.offsetX / cell);
      if (index >= 0 && index < cells.length) outline(index);
    });
    box.onkeydown = (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
      if (!(event.key in steps)) return;
      event.preventDefault();
      outline(at + steps[event.key]);
    };
    box.replaceChildren(canvas);
    outline(at);
  }

  function start() {
    layOut();
    const swatches = [['--series-0', 'slab'], ['--series-2', 'large block'], ['--series-3', 'mapping'],
      ['--series-1', 'range of an add-on'], ['--dirty', 'free, still backed by memory'], ['--line', 'free']];
    byId('map-legend').append(...swatches.map(([name, label]) => {
      const swatch = element('i');
      swatch.style.background = `var(${name})`;
      return element('span', {}, swatch, label);
    }), element('span', {}, `A square is ${bytesText(perCell)}; the paler, the fewer of its blocks are live.`));
    new ResizeObserver(() => box.clientWidth && draw()).observe(box);
  }

  return { start, draw };
})();
