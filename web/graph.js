// Rows to the nodes and links of a picture: hosts folded into networks, links summed, what is too much left out and
// counted. Pure.

import { networks } from "./network.js";
import { CHANGES } from "./rows.js";

/** Nodes that are shown without folding; and at the most, before the smallest are left out. */
const [NODES_GOOD, NODES_MAX] = [40, 60];
const LINKS_MAX = 160;

/**
 * The graph of `rows`; networks in `open` show their hosts. Gives `{ nodes, links, hosts, omitted: { nodes, links, rows } }`:
 * nodes `{ id, kind: host | network | open, hosts, rows, parent }`, links `{ id, source, target, change, rows, … }`.
 */
export function graph(rows, open) {
  const hosts = new Map();
  const pairs = rows.map((row) => {
    const [from, to] = ends(row);
    for (const name of [from, to]) {
      if (!hosts.has(name)) hosts.set(name, [...networks(name), name]);
    }
    return [row, from, to];
  });
  const place = places(hosts, open);
  const nodes = new Map();
  const links = new Map();
  for (const [row, from, to] of pairs) {
    const [source, target] = [place(from), place(to)];
    for (const [name, host] of new Map([
      [source, from],
      [target, to],
    ])) {
      const node = upsert(nodes, name.id, () => ({ ...name, hosts: new Set(), rows: 0 }));
      node.hosts.add(host);
      node.rows += 1;
    }
    // Both ends in one network: the other end counts there, too.
    if (source.id === target.id) nodes.get(source.id).hosts.add(from);
    const id = JSON.stringify([row.change, source.id, target.id]);
    const link = upsert(links, id, () => ({
      id,
      source: source.id,
      target: target.id,
      change: row.change,
      rows: [],
      moved: 0,
    }));
    link.rows.push(row);
    link.moved += row.moved;
  }
  return { ...trimmed([...nodes.values()], [...links.values()]), hosts: hosts.size };
}

/** The two ends of a row: its addresses, or an interface and its account. */
const ends = (row) => (row.srcaddr === undefined ? [row.account_id, row.interface_id] : [row.srcaddr, row.dstaddr]);

function upsert(map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

/** Where each host is shown: folded into the narrowest networks that keep the picture small, those in `open` opened. */
function places(hosts, open) {
  const members = new Map();
  for (const chain of hosts.values()) {
    for (const name of chain) members.set(name, (members.get(name) ?? 0) + 1);
  }
  // 2: hosts, 1: /24 or /64, 0: /16 or /48. Addresses alone have networks; other names are always shown as they are.
  const at = (chain, level) => chain[Math.min(level, chain.length - 1)];
  const size = (level) => new Set([...hosts.values()].map((chain) => at(chain, level))).size;
  const level = [2, 1].find((level) => size(level) <= NODES_GOOD) ?? 0;
  const known = new Map();
  return (host) =>
    upsert(known, host, () => {
      const chain = hosts.get(host);
      let parent = null;
      for (const name of chain.slice(Math.min(level, chain.length - 1))) {
        // A network of one host is that host.
        if (name === host || members.get(name) === 1) return { id: host, kind: "host", parent };
        if (!open.has(name)) return { id: name, kind: "network", parent };
        parent = name;
      }
      return { id: host, kind: "host", parent };
    });
}

/** The nodes and links with most rows, as many as a picture holds, and how much that leaves out. */
function trimmed(allNodes, allLinks) {
  const most = (a, b) => b.rows - a.rows || (a.id < b.id ? -1 : 1);
  const kept = allNodes.sort(most).slice(0, NODES_MAX);
  const names = new Set(kept.map(({ id }) => id));
  const between = allLinks.filter(({ source, target }) => names.has(source) && names.has(target));
  const links = between.sort((a, b) => b.rows.length - a.rows.length || (a.id < b.id ? -1 : 1)).slice(0, LINKS_MAX);
  const shown = new Set(links.flatMap(({ source, target }) => [source, target]));
  const nodes = kept.filter(({ id }) => shown.has(id));
  const rows = (links) => links.reduce((sum, link) => sum + link.rows.length, 0);
  const omitted = {
    nodes: allNodes.length - nodes.length,
    links: allLinks.length - links.length,
    rows: rows(allLinks) - rows(links),
  };
  // Opened networks are boxes around their hosts.
  const boxes = new Set(nodes.map(({ parent }) => parent).filter(Boolean));
  return {
    nodes: [...[...boxes].map((id) => ({ id, kind: "open", hosts: new Set(), rows: 0, parent: null })), ...nodes],
    links,
    omitted,
  };
}

/** What the rows of links say: counters by change and evidence. */
export function totals(rows) {
  return CHANGES.map((change) => {
    const own = rows.filter((row) => row.change === change);
    const sum = (name, side) => own.reduce((total, row) => total + row.sides[name][side], 0);
    const both = (name) => [sum(name, 0), sum(name, 1)];
    return { change, rows: own.length, bytes: both("bytes"), packets: both("packets"), flows: both("flows") };
  }).filter(({ rows }) => rows > 0);
}
