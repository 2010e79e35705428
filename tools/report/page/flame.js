// --- flame graph -------------------------------------------------------------------------

const flame = (() => {
  const rowHeight = 20;
  const narrowest = 1.2; // pixels
  const graph = byId('flame-graph');
  const hues = new Map(); // module -> hue: neighbours in size are far apart on the wheel
  let root = null;
  let zoomed = null;
  let drawnWidth = 0;
  let found = null;
  let metric = metricIndex.get('live_bytes');
  let current = null; // the frame that has the focus when the graph is entered

  function hueOf(module) {
    if (!hues.has(module)) hues.set(module, (24 + hues.size * 137.5) % 360);
    return hues.get(module);
  }

  // Frames of the same function are one, whatever their lines: positions get the number of their function.
  const functionNumbers = new Map();
  const functionOfPosition = profile.positions.map(([name, , , module]) => {
    const key = `${name}.${module}`;
    if (!functionNumbers.has(key)) functionNumbers.set(key, functionNumbers.size);
    return functionNumbers.get(key);
  });

  const newFrame = (parent, node) =>
    ({ parent, node, value: 0, own: 0, depth: parent ? parent.depth + 1 : 0, stacks: [], children: null, shown: null });

  /** The callees of a frame, or in the other order its callers, the largest first. They are made when they are first
      looked at: most are never wide enough to be. */
  function childrenOf(frame) {
    if (frame.children) return frame.children;
    const byFunction = new Map();
    for (const stack of frame.stacks) {
      if (stack.nodes.length === frame.depth) {
        frame.own += stack.value;
        continue;
      }
      const node = stack.nodes[frame.depth];
      const key = functionOfPosition[profile.nodes[2 * node + 1]];
      let child = byFunction.get(key);
      if (!child) {
        child = newFrame(frame, node);
        byFunction.set(key, child);
      }
      child.value += stack.value;
      child.stacks.push(stack);
    }
    frame.children = [...byFunction.values()].sort((one, other) => other.value - one.value);
    return frame.children;
  }

  function build(order) {
    root = newFrame(null, 0);
    for (const site of profile.sites) {
      const value = site.values[metric];
      if (!value) continue;
      const nodes = stackOf(site.node);
      if (order === 'down') nodes.reverse();
      root.value += value;
      root.stacks.push({ nodes, value });
    }
    zoomed = current = root;
  }

  const nameOf = (frame) => (frame === root ? 'all' : functionOf(frame.node));

  const isFound = (frame) => found !== null && frame !== root && found(frame.node);

  const describe = (frame) =>
    `${nameOf(frame)}: ${valueText(metric, frame.value)}, ${percentText(frame.value, root.value)}`;

  function detail(frame) {
    childrenOf(frame); // which tells how much is its own
    const box = byId('flame-detail');
    box.replaceChildren(element('b', {}, nameOf(frame)), element('br'),
      `${valueText(metric, frame.value)} ${profile.metrics[metric].label}, ` +
      `${percentText(frame.value, root.value)} of all` +
      (zoomed !== root ? `, ${percentText(frame.value, zoomed.value)} of what is shown` : '') +
      (frame.own && frame !== root ? `; ${valueText(metric, frame.own)} of it with the stack ending here` : ''));
    if (frame !== root)
      box.append(element('br'), `${isInlined(frame.node) ? 'inlined, ' : ''}${placeOf(frame.node)}` +
        (fileOf(frame.node) ? ` · ${fileOf(frame.node)}` : '') +
        (moduleOf(frame.node) ? ` · ${moduleOf(frame.node)}` : ''));
  }

  function place(frame, left, width, top, above) {
    const name = nameOf(frame);
    const made = element('div', {
      className: 'frame' + (above ? ' above' : '') + (isFound(frame) ? ' found' : '') +
        (width < 26 ? ' narrow' : '') + (frame !== root && isInlined(frame.node) ? ' inlined' : ''),
      title: describe(frame), tabIndex: -1, role: 'treeitem',
      'aria-level': frame.depth + 1, 'aria-label': describe(frame),
    }, width < 26 ? '' : name);
    made.style.left = `${left}px`;
    made.style.width = `${Math.max(width - 0.5, 0.7)}px`;
    made.style.top = `${top}px`;
    const module = frame === root ? '' : moduleOf(frame.node);
    made.style.setProperty('--hue', frame === root ? 210 : hueOf(module));
    made.style.setProperty('--step', `${(hash(name) % 9) - 4}%`);
    made.frame = frame;
    frame.shown = made;
    graph.append(made);
  }

  function draw(focus = false) {
    const width = graph.clientWidth;
    drawnWidth = width;
    graph.replaceChildren();
    if (!root.value) {
      graph.append(element('p', { className: 'empty' }, `Nothing is ${profile.metrics[metric].label}.`));
      graph.style.height = '';
      byId('flame-detail').hidden = true;
      return;
    }
    byId('flame-detail').hidden = false;
    const above = [];
    for (let frame = zoomed.parent; frame; frame = frame.parent) above.unshift(frame);
    // Of a deep recursion the frames next to what is shown are enough.
    const shownAbove = above.slice(-24);
    shownAbove.forEach((frame, i) => place(frame, 0, width, i * rowHeight, true));
    const walk = [[zoomed, 0, width, shownAbove.length]];
    let rows = 0;
    let shown = 0;
    while (walk.length && shown < 20000) {
      const [frame, left, wide, row] = walk.pop();
      rows = Math.max(rows, row);
      shown++;
      place(frame, left, wide, row * rowHeight, false);
      let at = left;
      // Too narrow to have a child that shows.
      if (wide < narrowest) continue;
      for (const child of childrenOf(frame)) {
        const childWidth = (child.value / frame.value) * wide;
        if (childWidth < narrowest) break;
        walk.push([child, at, childWidth, row + 1]);
        at += childWidth;
      }
    }
    graph.style.height = `${(rows + 1) * rowHeight}px`;
    if (!current.shown || !graph.contains(current.shown)) current = zoomed;
    current.shown.tabIndex = 0;
    if (focus) current.shown.focus();
    detail(current);
    byId('flame-reset').disabled = zoomed === root;
  }

  function zoom(frame, focus) {
    zoomed = current = frame;
    draw(focus);
  }

  function goTo(frame) {
    if (!frame || !frame.shown || !graph.contains(frame.shown)) return;
    current.shown.tabIndex = -1;
    current = frame;
    current.shown.tabIndex = 0;
    current.shown.focus();
    detail(current);
  }

  const siblings = (frame) => (frame.parent ? childrenOf(frame.parent) : [frame]);

  function key(event) {
    const actions = {
      ArrowUp: () => goTo(current.parent),
      ArrowDown: () => goTo(childrenOf(current)[0]),
      ArrowLeft: () => goTo(siblings(current)[siblings(current).indexOf(current) - 1]),
      ArrowRight: () => goTo(siblings(current)[siblings(current).indexOf(current) + 1]),
      Enter: () => zoom(current, true),
      ' ': () => zoom(current, true),
      Escape: () => zoom(zoomed.parent ?? root, true),
      Home: () => zoom(root, true),
    };
    if (!actions[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    actions[event.key]();
  }

  function search() {
    const text = byId('flame-search').value.trim();
    found = text ? matcher(text) : null;
    let sum = 0;
    let stacks = 0;
    for (const stack of found ? root.stacks : [])
      if (stack.nodes.some(found)) {
        stacks++;
        sum += stack.value;
      }
    byId('flame-status').textContent = !text ? ''
      : found === null ? 'That is not a regular expression yet.'
        : stacks ? `${countText(stacks)} call stack${stacks === 1 ? '' : 's'}, with ${valueText(metric, sum)} ` +
          `${profile.metrics[metric].label}, ` +
          `${percentText(sum, root.value)} of all.` : 'Nothing is called that.';
  }

  function rebuild() {
    metric = Number(byId('flame-metric').value);
    build(byId('flame-order').value);
    search();
    draw();
  }

  function start() {
    profile.metrics.forEach((facts, i) => {
      const any = profile.sites.some((site) => site.values[i]);
      byId('flame-metric').append(element('option', { value: i, disabled: !any, title: facts.help },
        facts.label));
    });
    // What is live is of interest first; a program that freed all has a peak.
    const first = ['live_bytes', 'peak_bytes', 'allocated_bytes', 'allocations']
      .map((name) => metricIndex.get(name)).find((i) => profile.sites.some((site) => site.values[i]));
    byId('flame-metric').value = first ?? metric;
    graph.addEventListener('click', (event) => {
      const frame = event.target.closest('.frame')?.frame;
      if (frame) zoom(frame, true);
    });
    graph.addEventListener('mouseover', (event) => {
      const frame = event.target.closest('.frame')?.frame;
      if (frame) detail(frame);
    });
    graph.addEventListener('mouseleave', () => root.value && detail(current));
    graph.addEventListener('keydown', key);
    byId('flame-metric').addEventListener('change', rebuild);
    byId('flame-order').addEventListener('change', rebuild);
    byId('flame-search').addEventListener('input', () => {
      search();
      draw();
    });
    byId('flame-reset').addEventListener('click', () => zoom(root, false));
    // Its height is of the drawing's own making.
    new ResizeObserver(() => {
      if (graph.clientWidth && graph.clientWidth !== drawnWidth) draw(graph.contains(document.activeElement));
    }).observe(graph);
    rebuild();
  }

  return { start };
})();
