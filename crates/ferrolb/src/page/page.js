'use strict';
// Shows status.json. Every word of it goes into the page as text (textContent); nothing of it is ever taken for markup.

const INTERVAL = 5000;
const ROWS = 500;
const by = (id) => document.getElementById(id);
let last = null;

function element(kind, text, look) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (look) made.className = look;
  return made;
}

function words(value) {
  if (value === null || value === undefined || value === '') return '-';
  if (Array.isArray(value)) return value.length ? value.map(words).join(' ') : '-';
  return String(value);
}

// A link where it is one of the web's, a word where it is not.
function link(text) {
  if (!/^https?:\/\//.test(text)) return element('span', text);
  const made = element('a', text);
  made.href = text;
  made.rel = 'noreferrer noopener';
  return made;
}

function table(title, heads, rows) {
  const wanted = by('filter').value.trim().toLowerCase();
  const text = (row) => row.map((cell) => (cell instanceof Node ? cell.textContent : words(cell))).join(' ').toLowerCase();
  const shown = wanted ? rows.filter((row) => text(row).includes(wanted)) : rows;
  const section = element('section');
  section.append(element('h2', title));
  const scroll = section.appendChild(element('div', undefined, 'scroll'));
  const made = scroll.appendChild(element('table'));
  const head = made.createTHead().insertRow();
  for (const one of heads) {
    const cell = head.appendChild(element('th', one));
    cell.scope = 'col';
  }
  const body = made.createTBody();
  for (const row of shown.slice(0, ROWS)) {
    const line = body.insertRow();
    for (const cell of row) {
      const made = line.insertCell();
      if (cell instanceof Node) made.append(cell);
      else made.textContent = words(cell);
    }
  }
  if (shown.length > ROWS) section.append(element('p', `${shown.length - ROWS} more; filter to see them`, 'more'));
  if (!shown.length) section.append(element('p', rows.length ? 'none that fits' : 'none', 'more'));
  return section;
}

// A code, what happened, and what to do.
function reason(what, one) {
  const made = element('dl');
  made.append(element('dt', `${one.code}  ${what}`), element('dd', `why  ${one.message}`), element('dd', `fix  ${one.fix}`));
  return made;
}

const PROGRESS = { pending: 'pending', allocated: 'allocated, NOT announced', announced: 'announced' };

function services(state) {
  const rows = state.services.map((one) => {
    const tries = element('span');
    one.try.forEach((url, index) => tries.append(index ? ' ' : '', link(url)));
    const progress = element('span', PROGRESS[one.state] || one.state, one.state === 'announced' ? 'fine' : 'wrong');
    const owner = [one.node, ...one.routers.map((router) => `to ${router}`)].filter(Boolean);
    return [`${one.namespace}/${one.name}`, one.addresses, progress, owner, one.mac, one.pool, tries];
  });
  const section = table('Services', ['SERVICE', 'ADDRESS', 'STATE', 'OWNER', 'MAC', 'POOL', 'TRY'], rows);
  for (const one of state.services) {
    for (const why of one.reasons.filter((why) => !why.node)) section.append(reason(`${one.namespace}/${one.name}`, why));
  }
  return section;
}

function pools(state) {
  const rows = state.pools.flatMap((pool) => pool.families.map((count) =>
    [pool.name, pool.ranges, count.family, count.total, count.assigned, count.available, pool.advertised_by]));
  return table('Pools', ['POOL', 'RANGE', 'FAMILY', 'TOTAL', 'USED', 'FREE', 'ADVERTISED BY'], rows);
}

function hosts(state) {
  const role = (peer) => [peer.own && 'this host', peer.allocator && 'allocates'].filter(Boolean).join(', ');
  const alive = (peer) => element('span', peer.alive ? 'yes' : 'NO', peer.alive ? 'fine' : 'wrong');
  const rows = state.peers.map((peer) => [peer.name, peer.address, alive(peer), role(peer)]);
  return table('Hosts', ['HOST', 'ADDRESS', 'ALIVE', 'ROLE'], rows);
}

function sessions(state) {
  if (!state.node) {
    const rows = state.routers.map((one) => [one.name, one.address || (one.addresses || []).join(' '), one.nodes, one.services || 0]);
    return table('Sessions with routers', ['ROUTER', 'ADDRESS', 'TOLD BY', 'SERVICES'], rows);
  }
  const rows = state.routers.map((one) =>
    [one.name, one.address, one.state, one.bfd, `${one.told} of ${one.prefixes}`, one.last_error]);
  return table('Sessions with routers', ['ROUTER', 'ADDRESS', 'SESSION', 'BFD', 'PREFIXES', 'LAST ERROR'], rows);
}

function timeline(state) {
  if (!state.timeline) return element('p', 'Who announced what when is not known here.', 'more');
  const rows = state.timeline.map((turn) => {
    const time = element('time', turn.at);
    time.dateTime = turn.at;
    return [time, `${turn.namespace}/${turn.name}`, turn.node, turn.protocol, turn.note];
  });
  return table('Timeline: who began to announce what', ['WHEN', 'SERVICE', 'NODE', 'PROTOCOL', 'FAILOVER'], rows);
}

function findings(state) {
  const section = element('section');
  section.append(element('h2', 'Findings'));
  if (!state.findings.length) section.append(element('p', 'none', 'more'));
  for (const one of state.findings) section.append(reason([one.object, one.field].filter(Boolean).join(' '), one));
  return section;
}

function verdict(state) {
  const silent = state.services.filter((one) => one.state !== 'announced').length;
  if (silent) return [`${silent} of ${state.services.length} Services not served`, 'wrong'];
  if (!state.ok) return ['the Services are served; see the findings', 'wrong'];
  return ['fine: nothing to do', 'fine'];
}

function show(state) {
  const [text, look] = verdict(state);
  by('verdict').textContent = text;
  by('verdict').className = look;
  document.title = `FerroLB: ${text}`;
  const parts = [services(state), pools(state), timeline(state), hosts(state)];
  if (state.routers.length) parts.push(sessions(state));
  by('main').replaceChildren(...parts, findings(state));
}

async function look() {
  try {
    const answer = await fetch('status.json', { cache: 'no-store' });
    if (!answer.ok) throw new Error((await answer.text()) || `HTTP ${answer.status}`);
    last = await answer.json();
    show(last);
    by('about').textContent = `version ${last.version}${last.node ? `, host ${last.node}` : ''}; looked at ${new Date().toISOString()}`;
  } catch (error) {
    by('verdict').textContent = `no answer: ${error.message}${last ? '; what stands below is older' : ''}`;
    by('verdict').className = 'wrong';
  }
  setTimeout(look, INTERVAL);
}

by('filter').addEventListener('input', () => last && show(last));
look();
