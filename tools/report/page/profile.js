// --- the profile, and how its numbers are written ------------------------------------

const profile = JSON.parse(document.getElementById('profile').textContent);
const strings = profile.strings;
const metricIndex = new Map(profile.metrics.map((metric, i) => [metric.name, i]));

const byId = (id) => document.getElementById(id);

/** An element with properties and children; text never becomes markup. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function svg(tag, attributes = {}, text = '') {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  return made;
}

const countText = (value) => Math.round(value).toLocaleString('en-US');

function bytesText(value) {
  if (value < 1024) return `${value} B`;
  let prefix = -1;
  while (value >= 1023.95 && prefix < 5) {
    value /= 1024;
    prefix++;
  }
  return `${value.toFixed(1)} ${'KMGTPE'[Math.max(prefix, 0)]}iB`;
}

const percentText = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : '–');

function durationText(ns) {
  if (ns >= 600e9) return `${Math.floor(ns / 60e9)} min ${Math.round((ns % 60e9) / 1e9)} s`;
  if (ns >= 1e9) return `${Number((ns / 1e9).toPrecision(3))} s`;
  if (ns >= 1e6) return `${Number((ns / 1e6).toPrecision(3))} ms`;
  return `${Number((ns / 1e3).toPrecision(3))} µs`;
}

const valueText = (metric, value) =>
  profile.metrics[metric].unit === 'bytes' ? bytesText(value) : countText(value);

const baseName = (path) => path.slice(path.lastIndexOf('/') + 1);

// --- the tree of calls: nodes are [parent, position] pairs ------------------------------

const nodeCount = profile.nodes.length / 2;
const parentOf = (node) => profile.nodes[2 * node];
const positionOf = (node) => profile.positions[profile.nodes[2 * node + 1]];
const functionOf = (node) => strings[positionOf(node)[0]];
const fileOf = (node) => strings[positionOf(node)[1]];
const moduleOf = (node) => strings[positionOf(node)[3]];
const isInlined = (node) => positionOf(node)[4] === 1;

/** "source.c:12", else the module. */
function placeOf(node) {
  const [, file, line] = positionOf(node);
  if (file && line) return `${baseName(strings[file])}:${line}`;
  return file ? baseName(strings[file]) : baseName(moduleOf(node));
}

/** The nodes of a stack, innermost first. */
function stackOf(node) {
  const stack = [];
  for (; node !== 0; node = parentOf(node)) stack.push(node);
  return stack;
}

/** A list of a stack's frames. Very deep ones are cut in the middle. */
function stackElement(node) {
  const list = element('ol', { className: 'stack' });
  const stack = stackOf(node);
  const most = 120;
  stack.forEach((frame, i) => {
    if (stack.length > most && i === most - 20)
      list.append(element('li', { className: 'place' }, `… ${stack.length - most} more frames …`));
    if (stack.length > most && i >= most - 20 && i < stack.length - 20) return;
    const item = element('li', { className: isInlined(frame) ? 'inlined' : '', value: i + 1 },
      functionOf(frame), ' ', element('span', { className: 'place', title: fileOf(frame) || moduleOf(frame) },
        placeOf(frame) + (isInlined(frame) ? ', inlined' : '')));
    list.append(item);
  });
  if (stack.length === 0) list.append(element('li', {}, 'no stack'));
  return list;
}

/** Whether a function, file or module has this text; a regular expression between slashes. */
function matcher(text) {
  const pattern = /^\/(.+)\/$/.exec(text);
  let test = null;
  if (pattern) {
    try {
      const expression = new RegExp(pattern[1], 'i');
      test = (value) => expression.test(value);
    } catch {
      return null; // not one yet
    }
  } else {
    const lower = text.toLowerCase();
    test = (value) => value.toLowerCase().includes(lower);
  }
  const known = new Map();
  return (node) => {
    const number = profile.nodes[2 * node + 1];
    if (!known.has(number))
      known.set(number, test(functionOf(node)) || test(fileOf(node)) || test(moduleOf(node)));
    return known.get(number);
  };
}

/** A colour that stays with a text. */
function hash(text) {
  let value = 2166136261;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 16777619);
  return (value ^ (value >>> 15)) >>> 0;
}
