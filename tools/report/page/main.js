// --- head, tabs, theme ------------------------------------------------------------------------

function head() {
  const { process, totals } = profile;
  const name = baseName(process.program) || process.command.split(' ')[0] || 'program';
  byId('title').textContent = byId('title').title = process.command || name;
  document.title = `Heap of ${name}`;
  const start = new Date(process.start_ns / 1e6);
  byId('about').textContent = [
    `process ${process.pid}`, `recorded from ${start.toLocaleString()} for ${durationText(process.duration_ns)}`,
    process.written && `written ${process.written}`,
    process.sample_bytes ? `samples of about each ${bytesText(process.sample_bytes)}` : 'every allocation',
    process.version && `libcalloc-track ${process.version}`,
  ].filter(Boolean).join(' · ');
  for (const text of [...profile.warnings, ...profile.caveats])
    byId('warnings').append(element('li', {}, text));
  if (profile.symbols.length)
    byId('symbols').append(element('details', {},
      element('summary', {}, 'Some functions have no name, or no line'),
      ...profile.symbols.map((text) => element('p', {}, text))));

  const leaked = totals.leaked_direct_bytes + totals.leaked_indirect_bytes;
  // Of samples all that is counted is an estimate; what the system says is none.
  const about = process.sample_bytes ? '≈ ' : '';
  const cards = [
    ['Peak', about + bytesText(totals.peak_bytes), `${about}${countText(totals.peak_blocks)} blocks, after ${durationText(totals.peak_ns)}`],
    ['Live at the end', about + bytesText(totals.live_bytes), `${about}${countText(totals.live_blocks)} blocks`],
    ['Allocated in all', about + bytesText(totals.allocated_bytes), `${about}${countText(totals.allocations)} allocations`],
    ['Temporary', about + percentText(totals.temporaries, totals.allocations), `${about}${countText(totals.temporaries)} blocks`],
    ['Leaked', profile.leaks_by_reachability ? about + bytesText(leaked) : '–', profile.leaks_by_reachability
      ? `${about}${countText(totals.leaked_direct_blocks + totals.leaked_indirect_blocks)} blocks` +
        (totals.suppressed_blocks ? `, ${countText(totals.suppressed_blocks)} suppressed` : '') : 'not looked for'],
    ['Resident', bytesText(totals.resident_bytes), `${bytesText(totals.peak_resident_bytes)} at the most`],
    ['Heap, mapped', bytesText(totals.heap_mapped_bytes), totals.class_mapped_bytes
      ? `${percentText(totals.class_mapped_bytes - totals.class_live_bytes, totals.class_mapped_bytes)} of the slabs free` : ''],
  ];
  for (const [label, value, more] of cards)
    byId('cards').append(element('div', {}, element('dt', {}, label),
      element('dd', {}, value, element('small', {}, more))));
}

function tabs() {
  const all = [...byId('tabs').children];
  const views = { timeline, map: heapMap };
  const select = (tab, focus, chosenByUser = true) => {
    for (const other of all) {
      const chosen = other === tab;
      other.setAttribute('aria-selected', String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      byId(other.getAttribute('aria-controls')).hidden = !chosen;
    }
    const id = tab.getAttribute('aria-controls');
    views[id]?.draw();
    if (focus) tab.focus();
    try {
      // Not the name of an element, to which the browser would scroll.
      if (chosenByUser) history.replaceState(null, '', `#view=${id}`);
    } catch {
      // A page from a file may not be allowed to.
    }
  };
  all.forEach((tab, i) => {
    tab.addEventListener('click', () => select(tab));
    tab.addEventListener('keydown', (event) => {
      const next = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: all.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      select(all[(next + all.length) % all.length], true);
    });
  });
  select(all.find((tab) => `#view=${tab.getAttribute('aria-controls')}` === location.hash) ?? all[0], false, false);
  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const field = document.querySelector('section:not([hidden]) input[type=search]');
    if (!field) return;
    event.preventDefault();
    field.focus();
  });
}

function theme() {
  const stored = () => {
    try {
      return localStorage.getItem('calloc-report-theme');
    } catch {
      return null; // a page from a file may have no store
    }
  };
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const set = (name) => {
    document.documentElement.dataset.theme = name;
    if (!byId('map').hidden) heapMap.draw();
  };
  set(stored() ?? (dark.matches ? 'dark' : 'light'));
  dark.addEventListener('change', () => stored() ?? set(dark.matches ? 'dark' : 'light'));
  byId('theme').addEventListener('click', () => {
    const next = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
    set(next);
    try {
      localStorage.setItem('calloc-report-theme', next);
    } catch {
      // Then it is for this time only.
    }
  });
}

theme();
head();
flame.start();
timeline.start();
sites.start();
leaks.start();
classes.start();
heapMap.start();
tabs();
