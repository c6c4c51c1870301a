// The picture of a diff, drawn by Cytoscape.js. Pointer and keyboard choose a link or node; the panel beside tells about
// it. Added, removed and changed differ by colour, by line, by arrow and by sign.

import { $, el } from "./dom.js";
import { bytes, count, counted, protocol } from "./format.js";
import { graph, totals } from "./graph.js";
import { SIGNS, sorted, tally } from "./rows.js";

/** Rows that the panel names. */
const ROWS_NAMED = 5;
/** Size of names, in pixels where the zoom is 1. */
const FONT = 11;
const LINES = {
  added: { "line-style": "solid", "target-arrow-shape": "triangle" },
  removed: { "line-style": "dashed", "line-dash-pattern": [7, 4], "target-arrow-shape": "tee" },
  changed: { "line-style": "dashed", "line-dash-pattern": [2, 4], "target-arrow-shape": "diamond" },
};

export class Picture {
  #cy = null;
  #graph = { nodes: [], links: [], omitted: {} };
  #rows = [];
  #positions = new Map();
  #chosen = null;

  /** `toggle(network)` is called to open or fold a network, `search(words)` to find in the table what is chosen. */
  constructor({ toggle, search }) {
    Object.assign(this, { toggle, search });
    this.root = $("picture");
    this.panel = $("picture-detail");
    this.root.addEventListener("keydown", (event) => this.#key(event));
    $("picture-in").addEventListener("click", () => this.#zoom(1.3));
    $("picture-out").addEventListener("click", () => this.#zoom(1 / 1.3));
    $("picture-fit").addEventListener("click", () => this.#cy?.fit(undefined, 24));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#cy?.style(style()));
  }

  /** Draws the graph of `rows` with these networks open. */
  async show(rows, open) {
    this.#rows = rows;
    this.open = open;
    this.#graph = graph(rows, open);
    this.#chosen = null;
    this.#tell();
    this.#left();
    const { default: cytoscape } = await import("./vendor/cytoscape.esm.min.mjs");
    // A newer picture may have been asked for while the library was loading.
    if (this.#rows !== rows) return;
    this.#cy ??= this.#create(cytoscape);
    this.#remember();
    this.#cy.elements().remove();
    this.#cy.add(this.#elements());
    this.#cy.style(style());
    this.#cy
      .layout({
        name: "cose",
        animate: false,
        randomize: false,
        nodeDimensionsIncludeLabels: true,
        idealEdgeLength: () => 70,
        nodeRepulsion: () => 9000,
        nodeOverlap: 12,
        componentSpacing: 60,
        gravity: 1.2,
        numIter: 700,
        padding: 24,
      })
      .run();
    this.#fill();
  }

  /** Spreads the nodes over the width that there is, and keeps names readable where much is shown. */
  #fill() {
    const leaves = this.#cy.nodes(":childless");
    const { w, h, x1 } = leaves.boundingBox({ includeLabels: false });
    const stretch = Math.min(Math.max(this.root.clientWidth / this.root.clientHeight / (w / h), 1), 2.2);
    leaves.positions((node) => ({ x: x1 + (node.position("x") - x1) * stretch, y: node.position("y") }));
    this.#cy.fit(undefined, 24);
    this.#cy.nodes().style("font-size", Math.min(Math.max(FONT / this.#cy.zoom(), FONT), 2 * FONT));
  }

  #create(cytoscape) {
    const cy = cytoscape({
      container: this.root,
      minZoom: 0.1,
      maxZoom: 3,
      boxSelectionEnabled: false,
      selectionType: "single",
    });
    // The wheel scrolls the page until the picture has the focus.
    cy.userZoomingEnabled(false);
    this.root.addEventListener("focus", () => cy.userZoomingEnabled(true));
    this.root.addEventListener("blur", () => cy.userZoomingEnabled(false));
    cy.on("mouseover", "node, edge", ({ target }) => this.#choose(target));
    cy.on("tap", "node, edge", ({ target }) => {
      this.root.focus({ preventScroll: true });
      this.#choose(target);
      if (target.isNode()) this.#activate();
    });
    new ResizeObserver(() => cy.resize()).observe(this.root);
    return cy;
  }

  #remember() {
    this.#cy.nodes().forEach((node) => this.#positions.set(node.id(), { ...node.position() }));
  }

  /** Nodes begin where they were, or beside the network they come from; the first time on a circle by address. */
  #elements() {
    const { nodes, links } = this.#graph;
    const leaves = nodes.filter(({ kind }) => kind !== "open").sort((a, b) => (a.id < b.id ? -1 : 1));
    const radius = 60 + leaves.length * 9;
    const circle = new Map(leaves.map(({ id }, place) => [id, turned({ x: 0, y: 0 }, place / leaves.length, radius)]));
    const elements = nodes.map((node, place) => {
      const origin = node.parent && this.#positions.get(node.parent);
      const position =
        this.#positions.get(node.id) ?? (origin ? turned(origin, place * 0.38, 40) : circle.get(node.id));
      const label = node.kind === "network" ? `${node.id}\n${counted(node.hosts.size, "host")}` : node.id;
      return {
        group: "nodes",
        data: {
          id: node.id,
          parent: node.parent ?? undefined,
          label,
          kind: node.kind,
          size: 14 + 4 * Math.log2(1 + node.rows),
        },
        position: node.kind === "open" ? undefined : position,
      };
    });
    for (const { id, source, target, change, rows, moved } of links) {
      const isUnobserved = rows.every((row) => row.evidence.startsWith("unobserved"));
      const width = Math.min(1.5 + Math.log10(1 + moved) / 3, 5);
      elements.push({
        group: "edges",
        data: {
          id,
          source,
          target,
          change,
          unobserved: isUnobserved ? "yes" : "no",
          label: `${SIGNS[change]}${count(rows.length)}`,
          width,
        },
      });
    }
    return elements;
  }

  #left() {
    const { nodes, links, hosts, omitted } = this.#graph;
    const folded = nodes.filter(({ kind }) => kind === "network").length;
    const said = [
      `${counted(hosts, "host")} as ${counted(nodes.filter(({ kind }) => kind !== "open").length, "node")}, ${counted(links.length, "link")}.`,
    ];
    if (folded) said.push(`${counted(folded, "network is", "networks are")} folded: choose one to open it.`);
    if (omitted.rows)
      said.push(
        `Left out, as too much to draw: ${counted(omitted.nodes, "node")} and ${counted(omitted.links, "link")} with ${counted(omitted.rows, "row")}; search to see them.`,
      );
    $("picture-omitted").textContent = hosts ? said.join(" ") : "";
    $("picture-part").hidden = hosts === 0;
  }

  #choose(target) {
    if (this.#chosen === target.id()) return;
    this.#chosen = target.id();
    this.#cy.elements().removeClass("chosen");
    target.addClass("chosen");
    this.#tell();
  }

  /** Opens or folds the chosen network. */
  #activate() {
    const node = this.#graph.nodes.find(({ id }) => id === this.#chosen);
    if (node && node.kind !== "host") this.toggle(node.id);
  }

  /** The panel: about the chosen link or node, else what the signs mean. */
  #tell() {
    const node = this.#graph.nodes.find(({ id }) => id === this.#chosen);
    const link = this.#graph.links.find(({ id }) => id === this.#chosen);
    if (node) this.panel.replaceChildren(...this.#aboutNode(node));
    else if (link) this.panel.replaceChildren(...this.#aboutLink(link));
    else this.panel.replaceChildren(...legend());
  }

  #aboutNode(node) {
    const links = this.#graph.links.filter(({ source, target }) => source === node.id || target === node.id);
    const inside =
      node.kind === "open" ? this.#graph.nodes.filter(({ parent }) => parent === node.id).length : node.hosts.size;
    const verb = { network: "Open", open: "Fold" }[node.kind];
    return [
      el("h3", {}, el("code", {}, node.id)),
      node.kind !== "host" && el("p", {}, counted(inside, "host"), node.kind === "open" ? " shown" : " folded"),
      ...this.#counters(links.flatMap(({ rows }) => rows)),
      el(
        "div",
        { class: "buttons" },
        verb && el("button", { type: "button", click: () => this.toggle(node.id) }, verb),
        node.parent && el("button", { type: "button", click: () => this.toggle(node.parent) }, `Fold ${node.parent}`),
        el("button", { type: "button", click: () => this.search(node.id) }, "Find in table"),
      ),
    ].filter(Boolean);
  }

  #aboutLink({ source, target, rows }) {
    const name = (row) =>
      row.srcaddr === undefined
        ? row.interface_id
        : `${row.srcaddr}${row.srcport ? `:${row.srcport}` : ""} → ${row.dstaddr}${row.dstport ? `:${row.dstport}` : ""}${row.protocol === undefined ? "" : ` ${protocol(row.protocol)}`}`;
    const largest = sorted(rows, "-moved").slice(0, ROWS_NAMED);
    const hasAddresses = rows[0].srcaddr !== undefined;
    return [
      el("h3", {}, el("code", {}, source), " → ", el("code", {}, target)),
      ...this.#counters(rows),
      el(
        "ul",
        { class: "rows" },
        largest.map((row) => el("li", {}, el("code", {}, name(row)), ` ${bytes(row.moved)}`)),
      ),
      rows.length > ROWS_NAMED && el("p", { class: "muted" }, `and ${count(rows.length - ROWS_NAMED)} more`),
      el(
        "div",
        { class: "buttons" },
        el(
          "button",
          { type: "button", click: () => this.search(hasAddresses ? `src:${source} dst:${target}` : target) },
          "Find in table",
        ),
      ),
    ].filter(Boolean);
  }

  #counters(rows) {
    const both = ([before, after], written) =>
      before && after ? `${written(before)} → ${written(after)}` : written(before || after);
    return totals(rows).map(({ change, rows: number, ...sums }) =>
      el(
        "p",
        { class: "counters" },
        el("span", { class: `change ${change}` }, el("b", {}, SIGNS[change]), ` ${count(number)} ${change}`),
        ` ${both(sums.bytes, bytes)}, ${both(sums.packets, count)} packets, ${both(sums.flows, count)} flows; evidence: `,
        [
          ...tally(
            rows.filter((row) => row.change === change),
            "evidence",
          ),
        ]
          .map(([evidence, number]) => `${evidence.replace("_", " ")} ${count(number)}`)
          .join(", "),
      ),
    );
  }

  #zoom(factor) {
    this.#cy?.zoom({
      level: this.#cy.zoom() * factor,
      renderedPosition: { x: this.root.clientWidth / 2, y: this.root.clientHeight / 2 },
    });
  }

  #key(event) {
    if (!this.#cy || event.ctrlKey || event.metaKey || event.altKey) return;
    const ids = [...this.#graph.links.map(({ id }) => id), ...this.#graph.nodes.map(({ id }) => id)];
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      const place = ids.indexOf(this.#chosen);
      const next = this.#cy.getElementById(ids[(place + (place < 0 && step < 0 ? 0 : step) + ids.length) % ids.length]);
      if (next.nonempty()) this.#choose(next);
    } else if (event.key === "Enter") this.#activate();
    else if (event.key === "+" || event.key === "=") this.#zoom(1.3);
    else if (event.key === "-") this.#zoom(1 / 1.3);
    else if (event.key === "0") this.#cy.fit(undefined, 24);
    else return;
    event.preventDefault();
  }
}

const turned = ({ x, y }, part, radius) => ({
  x: x + radius * Math.cos(part * 2 * Math.PI),
  y: y + radius * Math.sin(part * 2 * Math.PI),
});

function legend() {
  const line = (change, text) =>
    el(
      "li",
      {},
      el("span", { class: `line ${change}`, "aria-hidden": "true" }),
      el("span", { class: `change ${change}` }, el("b", {}, SIGNS[change]), ` ${change}`),
      el("span", {}, text),
    );
  return [
    el("h3", {}, "Picture"),
    el(
      "ul",
      { class: "plain" },
      line("added", "solid, arrow"),
      line("removed", "dashed, bar"),
      line("changed", "dotted, diamond"),
      el(
        "li",
        {},
        el("span", { class: "line unobserved", "aria-hidden": "true" }),
        el("span", {}, "pale: nobody watched, so nobody knows"),
      ),
    ),
    el(
      "p",
      { class: "muted" },
      "Point at a link or a host, or step through them with the arrow keys, for counters and evidence. A network opens and folds with a click or Enter. A number is the rows of a link.",
    ),
  ];
}

/** The style of the picture in the colours of the page. */
function style() {
  const page = getComputedStyle(document.documentElement);
  const colour = (name) => page.getPropertyValue(`--${name}`).trim();
  const text = {
    color: colour("ink"),
    "font-family": "system-ui, sans-serif",
    "font-size": FONT,
    "text-outline-color": colour("surface"),
    "text-outline-width": 2,
  };
  return [
    {
      selector: "node",
      style: {
        ...text,
        label: "data(label)",
        width: "data(size)",
        height: "data(size)",
        "background-color": colour("node"),
        "border-width": 1.5,
        "border-color": colour("muted"),
        "text-valign": "bottom",
        "text-margin-y": 4,
        "text-background-color": colour("surface"),
        "text-background-opacity": 0.8,
        "text-wrap": "wrap",
        "min-zoomed-font-size": 6,
      },
    },
    {
      selector: "node[kind = 'network']",
      style: {
        shape: "round-rectangle",
        "border-width": 3,
        "border-style": "double",
        "background-color": colour("network"),
      },
    },
    {
      selector: "node[kind = 'open']",
      style: {
        shape: "round-rectangle",
        "background-color": colour("network"),
        "background-opacity": 0.25,
        "border-style": "dashed",
        "text-valign": "top",
        "text-margin-y": -4,
        padding: 14,
      },
    },
    {
      selector: "edge",
      style: {
        ...text,
        label: "data(label)",
        width: "data(width)",
        "curve-style": "bezier",
        "control-point-step-size": 34,
        "arrow-scale": 1.1,
        "text-rotation": "autorotate",
        "min-zoomed-font-size": 8,
      },
    },
    ...Object.entries(LINES).map(([change, line]) => ({
      selector: `edge[change = '${change}']`,
      style: { ...line, "line-color": colour(change), "target-arrow-color": colour(change), color: colour(change) },
    })),
    { selector: "edge[unobserved = 'yes']", style: { opacity: 0.55, "target-arrow-fill": "hollow" } },
    {
      selector: ".chosen",
      style: {
        "overlay-color": colour("accent"),
        "overlay-opacity": 0.28,
        "overlay-padding": 5,
        opacity: 1,
        "z-index": 9,
      },
    },
  ];
}
