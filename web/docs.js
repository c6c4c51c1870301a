// The description of the API for people: every operation of openapi.json with its parameters, and a link to try it.

import { $, el, notice, written } from "./dom.js";
import { address, auth, json } from "./api.js";
import { count } from "./format.js";

/** Methods in the order that operations are listed. */
const METHODS = ["get", "post", "put", "delete"];

/** Follows a reference within the document. */
const resolve = (api, item) =>
  item?.$ref
    ? item.$ref
        .split("/")
        .slice(1)
        .reduce((part, name) => part?.[name.replaceAll("~1", "/").replaceAll("~0", "~")], api)
    : item;

/** A schema in a word or two. */
function type(api, schema) {
  if (schema?.$ref) return schema.$ref.split("/").at(-1);
  const { type: own, enum: values, items, oneOf, format, minimum: least, maximum: most } = schema ?? {};
  if (values) return values.join(" | ");
  if (least !== undefined && most !== undefined) return `${count(least)} to ${count(most)}`;
  if (least !== undefined) return `${own}, at least ${count(least)}`;
  if (format?.startsWith("ip")) return format.replace("ip", "IP");
  if (oneOf) return oneOf.map((one) => type(api, one)).join(" or ");
  const name = [own ?? "any"]
    .flat()
    .filter((name) => name !== "null")
    .join(" | ");
  return name === "array" ? `array of ${type(api, items)}` : name;
}

/** A field for a value of a parameter: a choice where there are few values, else a line. */
function field(api, { required, schema: given, example }, update) {
  const schema = resolve(api, given);
  if (schema?.enum) {
    const values = schema.enum.map((value) => el("option", { value }, value));
    return el("select", { change: update }, required ? null : el("option", { value: "" }, "default"), values);
  }
  const placeholder = type(api, schema);
  const input = el("input", { placeholder, required, spellcheck: "false", autocomplete: "off", input: update });
  input.value = example ?? schema?.example ?? "";
  return input;
}

function operation(api, path, method, said) {
  const parameters = (said.parameters ?? []).map((parameter) => resolve(api, parameter));
  const link = el("a", { class: "try", target: "_blank", rel: "noopener" });
  const fields = parameters.map((parameter) => {
    const input = field(api, parameter, () => update());
    const label = el(
      "label",
      {},
      el("code", {}, parameter.name, parameter.required ? " *" : ""),
      input,
      el("span", { class: "muted" }, written(parameter.description ?? "")),
    );
    return { parameter, input, label };
  });
  const update = () => {
    const values = (place) =>
      fields
        .filter(({ parameter }) => parameter.in === place)
        .map(({ parameter, input }) => [parameter.name, input.value]);
    const filled = values("path").reduce(
      (text, [name, value]) => text.replace(`{${name}}`, value ? encodeURIComponent(value) : `{${name}}`),
      path.slice(1),
    );
    const query = Object.fromEntries(values("query"));
    link.href = Object.values(query).some(Boolean) ? address(filled, query) : filled;
    link.textContent = `Try: GET ${decodeURI(link.getAttribute("href"))}`;
  };
  update();
  const isLink = method === "get" && !auth.token;
  return el(
    "article",
    {},
    el("h3", {}, el("span", { class: "method" }, method.toUpperCase()), el("code", {}, path)),
    said.summary && el("p", {}, written(said.summary)),
    said.description && said.description !== said.summary && el("p", { class: "muted" }, written(said.description)),
    fields.length > 0 &&
      el(
        "div",
        { class: "parameters" },
        fields.map(({ label }) => label),
      ),
    said.requestBody &&
      el(
        "p",
        {},
        "Body: ",
        Object.entries(resolve(api, said.requestBody).content ?? {})
          .map(([media, { schema }], place) => [place ? ", or " : "", el("code", {}, media), ` ${type(api, schema)}`])
          .flat(),
      ),
    el(
      "ul",
      { class: "rows" },
      Object.entries(said.responses ?? {}).map(([status, answer]) =>
        el("li", {}, el("code", {}, status), " ", written(resolve(api, answer)?.description ?? "")),
      ),
    ),
    isLink && el("p", {}, link),
  );
}

async function start() {
  const main = $("operations");
  try {
    const api = await json("openapi.json");
    $("version").textContent = api.info?.version ?? "";
    const operations = Object.entries(api.paths ?? {}).flatMap(([path, item]) =>
      METHODS.filter((method) => item[method]).map((method) => [path, method, item[method]]),
    );
    const tags = new Map((api.tags ?? []).map(({ name }) => [name, []]));
    for (const one of operations) {
      const tag = one[2].tags?.[0] ?? "service";
      tags.set(tag, [...(tags.get(tag) ?? []), one]);
    }
    main.replaceChildren(
      el("p", {}, api.info?.description ?? ""),
      ...[...tags]
        .filter(([, own]) => own.length)
        .map(([tag, own]) =>
          el(
            "section",
            { "aria-label": tag },
            el("h2", {}, tag),
            own.map((one) => operation(api, ...one)),
          ),
        ),
      el(
        "section",
        {},
        el("h2", {}, "Schemas"),
        Object.entries(api.components?.schemas ?? {}).map(([name, schema]) =>
          el(
            "details",
            {},
            el("summary", {}, el("code", {}, name), ` ${schema.description ?? ""}`),
            el("pre", { tabindex: 0 }, JSON.stringify(schema, null, 2)),
          ),
        ),
      ),
    );
  } catch (problem) {
    main.replaceChildren(notice("error", problem.message, problem.hint && el("p", {}, problem.hint)));
  }
  main.removeAttribute("aria-busy");
}
start();
