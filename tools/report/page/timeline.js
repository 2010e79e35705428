// --- time line ---------------------------------------------------------------------------

const timeline = (() => {
  const rows = profile.timeline;
  const chart = byId('timeline-chart');
  const kinds = {
    memory: {
      label: 'memory', text: bytesText,
      series: [['live_bytes', 'allocated and not freed'], ['resident_bytes', 'resident, of the whole process']],
    },
    live: { label: 'allocated memory alone', text: bytesText, series: [['live_bytes', 'allocated and not freed']] },
    blocks: { label: 'live blocks', text: countText, series: [['live_blocks', 'live blocks']] },
    allocations: { label: 'allocations so far', text: countText, series: [['allocations', 'allocations']] },
  };
  const margin = { left: 84, right: 16, top: 14, bottom: 34 };
  let at = rows.length - 1;

  const kind = () => kinds[byId('timeline-metric').value];
  // A row without a resident size is one where it was not asked for.
  const known = (name) => rows.some((row) => row[name]);

  /** Round steps, of powers of two for bytes and of ten else; at most six or so. */
  function ticks(most, binary) {
    if (most <= 0) return [0];
    const base = binary ? 2 : 10;
    let step = base ** Math.floor(Math.log(most / 4) / Math.log(base));
    if (step < 1 && binary) step = 1;
    while (most / step > 6) step *= 2;
    const made = [];
    for (let value = 0; value <= most; value += step) made.push(value);
    return made;
  }

  function draw() {
    chart.replaceChildren();
    if (rows.length < 2) {
      chart.append(element('p', { className: 'empty' }, 'The profile has no time line: the process was too quick.'));
      return;
    }
    const width = chart.clientWidth;
    const height = chart.clientHeight;
    const { series, text } = kind();
    const shown = series.filter(([name]) => known(name));
    const last = Math.max(rows[rows.length - 1].ns, 1);
    const most = Math.max(1, ...shown.map(([name]) => Math.max(...rows.map((row) => row[name]))));
    const x = (ns) => margin.left + (ns / last) * (width - margin.left - margin.right);
    const y = (value) => height - margin.bottom - (value / most) * (height - margin.top - margin.bottom);
    const picture = svg('svg', { viewBox: `0 0 ${width} ${height}` });
    for (const value of ticks(most, text === bytesText)) {
      picture.append(svg('line', { class: 'grid', x1: margin.left, x2: width - margin.right, y1: y(value), y2: y(value) }));
      picture.append(svg('text', { x: margin.left - 8, y: y(value) + 4, 'text-anchor': 'end' }, text(value)));
    }
    const steps = Math.max(2, Math.min(8, Math.floor(width / 140)));
    for (let i = 0; i <= steps; i++) {
      const ns = (last * i) / steps;
      picture.append(svg('text', { x: x(ns), y: height - 10, 'text-anchor': i === steps ? 'end' : i ? 'middle' : 'start' },
        i ? durationText(ns) : '0'));
    }
    shown.forEach(([name], i) => {
      const points = rows.filter((row) => name !== 'resident_bytes' || row[name]);
      const line = points.map((row, k) => `${k ? 'L' : 'M'}${x(row.ns).toFixed(1)},${y(row[name]).toFixed(1)}`).join('');
      if (i === 0)
        picture.append(svg('path', {
          d: `${line}L${x(points[points.length - 1].ns)},${y(0)}L${x(points[0].ns)},${y(0)}Z`,
          fill: `var(--series-${i})`, 'fill-opacity': 0.18,
        }));
      picture.append(svg('path', { d: line, fill: 'none', stroke: `var(--series-${i})`, 'stroke-width': 1.8 }));
    });
    if (text === bytesText && profile.totals.peak_bytes && profile.totals.peak_ns <= last) {
      const px = x(profile.totals.peak_ns);
      const py = y(Math.min(profile.totals.peak_bytes, most));
      picture.append(svg('circle', { cx: px, cy: py, r: 4.5, fill: 'var(--bad)' }));
      picture.append(svg('text', { x: px + (px > width - 160 ? -9 : 9), y: Math.max(py - 8, 12),
        'text-anchor': px > width - 160 ? 'end' : 'start' }, `peak ${bytesText(profile.totals.peak_bytes)}`));
    }
    const cursor = svg('line', { class: 'cursor', y1: margin.top, y2: height - margin.bottom });
    picture.append(cursor);
    chart.append(picture);
    const move = (index) => {
      at = Math.min(Math.max(index, 0), rows.length - 1);
      cursor.setAttribute('x1', x(rows[at].ns));
      cursor.setAttribute('x2', x(rows[at].ns));
      byId('timeline-status').textContent = `after ${durationText(rows[at].ns)}: ` +
        series.filter(([name]) => known(name) && (name !== 'resident_bytes' || rows[at][name]))
          .map(([name, label]) => `${text(rows[at][name])} ${label}`).join(', ');
    };
    chart.onmousemove = (event) => {
      const ns = ((event.clientX - chart.getBoundingClientRect().left - margin.left) /
        (width - margin.left - margin.right)) * last;
      let nearest = 0;
      rows.forEach((row, i) => {
        if (Math.abs(row.ns - ns) < Math.abs(rows[nearest].ns - ns)) nearest = i;
      });
      move(nearest);
    };
    chart.onkeydown = (event) => {
      const steps_ = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -Infinity, End: Infinity };
      if (!(event.key in steps_)) return;
      event.preventDefault();
      move(at + steps_[event.key]);
    };
    byId('timeline-legend').replaceChildren(...shown.map(([, label], i) => {
      const swatch = element('i');
      swatch.style.background = `var(--series-${i})`;
      return element('span', {}, swatch, label);
    }));
    move(at);
  }

  function start() {
    for (const [name, facts] of Object.entries(kinds))
      byId('timeline-metric').append(element('option', { value: name }, facts.label));
    byId('timeline-metric').addEventListener('change', draw);
    new ResizeObserver(() => chart.clientWidth && draw()).observe(chart);
    const head = element('tr', {}, ...['time', 'live', 'live blocks', 'allocations', 'resident']
      .map((text) => element('th', { scope: 'col' }, text)));
    const body = rows.map((row) => element('tr', {}, element('td', {}, durationText(row.ns)),
      element('td', {}, bytesText(row.live_bytes)), element('td', {}, countText(row.live_blocks)),
      element('td', {}, countText(row.allocations)),
      element('td', {}, row.resident_bytes ? bytesText(row.resident_bytes) : '–')));
    byId('timeline-table').append(element('table', {}, element('thead', {}, head), element('tbody', {}, ...body)));
  }

  return { start, draw };
})();
