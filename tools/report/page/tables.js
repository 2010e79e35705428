// --- top sites -----------------------------------------------------------------------------

const sites = (() => {
  const columns = [
    ['live_bytes', 'live'], ['live_blocks', 'live blocks'], ['peak_bytes', 'at the peak'],
    ['allocated_bytes', 'allocated'], ['allocations', 'allocations'], ['temporaries', 'temporary'],
    ['slack_bytes', 'slack'], ['leaked_bytes', 'leaked'],
  ].map(([name, label]) => ({ metric: metricIndex.get(name), label }));
  let sortedBy = columns[0];
  let descending = true;
  let shown = 100;
  let rows = [];

  /** What the rows are: a stack each, or all stacks that end in a function or module. */
  function group() {
    const by = byId('sites-group').value;
    const groups = new Map();
    profile.sites.forEach((site, i) => {
      const [, , , module] = positionOf(site.node);
      const key = by === 'site' ? i
        : by === 'module' ? module
          : `${positionOf(site.node)[0]}.${module}`;
      let row = groups.get(key);
      if (!row) {
        row = { sites: [], values: profile.metrics.map(() => 0) };
        groups.set(key, row);
      }
      row.sites.push(site);
      site.values.forEach((value, m) => (row.values[m] += value));
    });
    rows = [...groups.values()].filter((row) => row.values.some((value) => value));
    for (const row of rows) {
      const node = row.sites[0].node;
      row.node = node;
      row.name = node === 0 ? 'no stack' : by === 'module' ? baseName(moduleOf(node)) || 'no module' : functionOf(node);
      row.place = node === 0 ? '' : by === 'site' ? placeOf(node)
        : `${countText(row.sites.length)} call stack${row.sites.length === 1 ? '' : 's'}`;
    }
  }

  function details(row) {
    const cell = element('td', { colSpan: columns.length + 1 });
    const largest = [...row.sites]
      .sort((a, b) => b.values[sortedBy.metric] - a.values[sortedBy.metric]).slice(0, 20);
    for (const site of largest) {
      if (row.sites.length > 1)
        cell.append(element('p', { className: 'quiet' }, `${valueText(sortedBy.metric, site.values[sortedBy.metric])} ` +
          profile.metrics[sortedBy.metric].label));
      cell.append(stackElement(site.node));
    }
    if (row.sites.length > largest.length)
      cell.append(element('p', { className: 'quiet' }, `… and ${countText(row.sites.length - largest.length)} more`));
    return element('tr', { className: 'details' }, cell);
  }

  function rowElement(row) {
    const open = element('button', { className: 'open', type: 'button', 'aria-expanded': 'false' }, row.name);
    const made = element('tr', {}, element('td', {}, open, ' ', element('span', { className: 'place' }, row.place)));
    open.addEventListener('click', () => {
      const isOpen = open.getAttribute('aria-expanded') === 'true';
      open.setAttribute('aria-expanded', String(!isOpen));
      if (isOpen) made.nextElementSibling.remove();
      else made.after(details(row));
    });
    for (const column of columns) {
      const value = row.values[column.metric];
      const cell = element('td', {}, value ? valueText(column.metric, value) : '·');
      if (column === sortedBy && value) {
        const bar = element('span', { className: 'bar' });
        bar.style.width = `${(100 * value) / column.total}%`;
        cell.append(bar);
        cell.title = percentText(value, column.total);
      }
      made.append(cell);
    }
    return made;
  }

  function draw() {
    const text = byId('sites-filter').value.trim();
    const match = text ? matcher(text) : null;
    const some = match
      ? rows.filter((row) => row.sites.some((site) => stackOf(site.node).some(match))) : rows;
    for (const column of columns)
      column.total = rows.reduce((sum, row) => sum + row.values[column.metric], 0);
    some.sort((a, b) => (b.values[sortedBy.metric] - a.values[sortedBy.metric]) * (descending ? 1 : -1));
    const head = element('tr', {}, element('th', { scope: 'col' }, 'Where'));
    for (const column of columns) {
      const button = element('button', { type: 'button', title: profile.metrics[column.metric].help },
        column.label + (column === sortedBy ? (descending ? ' ▾' : ' ▴') : ''));
      const cell = element('th', { scope: 'col' }, button);
      if (column === sortedBy) cell.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
      button.addEventListener('click', () => {
        descending = column === sortedBy ? !descending : true;
        sortedBy = column;
        draw();
        byId('sites-table').querySelector('th[aria-sort] button').focus();
      });
      head.append(cell);
    }
    const body = element('tbody', {}, ...some.slice(0, shown).map(rowElement));
    byId('sites-table').replaceChildren(element('table', {}, element('thead', {}, head), body));
    if (some.length > shown) {
      const more = element('button', { className: 'more', type: 'button' },
        `Show more (${countText(some.length - shown)} left)`);
      more.addEventListener('click', () => {
        shown *= 4;
        draw();
      });
      byId('sites-table').append(more);
    }
    const sum = some.reduce((all, row) => all + row.values[sortedBy.metric], 0);
    byId('sites-status').textContent = `${countText(some.length)} of ${countText(rows.length)} rows, ` +
      `${valueText(sortedBy.metric, sum)} ${profile.metrics[sortedBy.metric].label}`;
  }

  function start() {
    byId('sites-group').addEventListener('change', () => {
      group();
      draw();
    });
    byId('sites-filter').addEventListener('input', draw);
    if (!profile.totals.live_bytes) sortedBy = columns[2];
    group();
    draw();
  }

  return { start };
})();

// --- leaks ---------------------------------------------------------------------------------

const leaks = (() => {
  function leakElement(leak) {
    // What is not freed is no leak, whatever its stack is called.
    const suppressed = leak.kind !== 'not freed' && leak.suppressed_by !== undefined;
    const kept = leak.kind === 'not freed' || suppressed;
    return element('article', { className: `leak ${kept ? 'kept' : leak.kind}` },
      element('h3', {}, `${bytesText(leak.bytes)} in ${countText(leak.blocks)} block${leak.blocks === 1 ? '' : 's'} of ` +
        `${bytesText(leak.size)}, ${leak.kind === 'not freed' ? 'not freed, but reachable' : leak.kind}`),
      element('p', { className: 'quiet' }, `for example at ${leak.example}` +
        (!suppressed ? '' : `; suppressed by “${leak.suppressed_by}”`)),
      stackElement(profile.sites[leak.site].node));
  }

  function listOf(title, list) {
    const box = element('div');
    if (!list.length) return box;
    box.append(element('h2', {}, title));
    let shown = 0;
    const more = element('button', { className: 'more', type: 'button' });
    const show = () => {
      for (const leak of list.slice(shown, shown + 50)) more.before(leakElement(leak));
      shown += 50;
      more.hidden = shown >= list.length;
      more.textContent = `Show more (${countText(list.length - shown)} left)`;
    };
    box.append(more);
    more.addEventListener('click', show);
    show();
    return box;
  }

  function start() {
    const totals = profile.totals;
    const status = byId('leaks-status');
    const byBytes = [...profile.leaks].sort((a, b) => b.bytes - a.bytes);
    const is = (kind) => byBytes.filter((leak) => leak.kind === kind && leak.suppressed_by === undefined);
    const leaked = totals.leaked_direct_blocks + totals.leaked_indirect_blocks;
    if (!profile.leaks_looked_for) status.textContent = 'Leaks were not looked for in this process.';
    else if (!profile.leaks_by_reachability)
      status.textContent = 'Whether anything still points to a block was not looked at: all that was not freed is listed.';
    else
      status.textContent = leaked
        ? `${bytesText(totals.leaked_direct_bytes)} in ${countText(totals.leaked_direct_blocks)} blocks leaked directly, ` +
          `${bytesText(totals.leaked_indirect_bytes)} in ${countText(totals.leaked_indirect_blocks)} blocks ` +
          'are only reachable from these.'
        : `No leaks${profile.process.sample_bytes ? ' among the samples' : ''}` + (totals.suppressed_blocks
          ? ` but suppressed ones: ${bytesText(totals.suppressed_bytes)} in ${countText(totals.suppressed_blocks)} ` +
            `block${totals.suppressed_blocks === 1 ? '' : 's'}.`
          : ': everything that is live is reachable.');
    byId('leaks-list').append(listOf('Direct leaks', is('direct')), listOf('Indirect leaks', is('indirect')),
      listOf('Suppressed', byBytes.filter((leak) => leak.suppressed_by !== undefined && leak.kind !== 'not freed')),
      listOf('Not freed', byBytes.filter((leak) => leak.kind === 'not freed')));
    if (leaked)
      byId('tab-leaks').append(element('span', { className: 'count', title: `${countText(leaked)} leaked blocks` },
        countText(is('direct').length + is('indirect').length)));
  }

  return { start };
})();
