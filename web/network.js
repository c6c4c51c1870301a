// Addresses and the networks they lie in. Pure.

/** The bits of an address and how many it has; `null` if it is none. */
function bits(address) {
  const four = address.match(/^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/);
  if (four) return [four.slice(1).reduce((sum, part) => (sum << 8n) | BigInt(part), 0n), 32];
  if (!/^[0-9a-f:]*:[0-9a-f:.]*$/i.test(address)) return null;
  const [head, tail] = address.split("::").map((side) => (side ? side.split(":") : []));
  const zeros = tail ? Math.max(8 - head.length - tail.length, 0) : 0;
  const parts = [...head, ...Array(zeros).fill("0"), ...(tail ?? [])];
  if (parts.length !== 8 || parts.some((part) => !/^[0-9a-f]{1,4}$/i.test(part))) return null;
  return [parts.reduce((sum, part) => (sum << 16n) | BigInt(`0x${part}`), 0n), 128];
}

/** Whether text is a network, `10.0.0.0/8`: a function that tells if an address lies in it; else `null`. */
export function network(text) {
  const [address, length] = text.split("/");
  const own = length !== undefined && /^\d+$/.test(length) ? bits(address) : null;
  if (!own || Number(length) > own[1]) return null;
  const shift = BigInt(own[1] - Number(length));
  return (other) => {
    const found = bits(other);
    return found !== null && found[1] === own[1] && found[0] >> shift === own[0] >> shift;
  };
}

/** The networks that a picture folds an address into, widest first; none for what is no address. */
export function networks(address) {
  const found = bits(address);
  if (!found) return [];
  const [value, width] = found;
  return (width === 32 ? [16, 24] : [48, 64]).map((length) => {
    const shift = BigInt(width - length);
    const start = (value >> shift) << shift;
    return `${written(start, width)}/${length}`;
  });
}

function written(value, width) {
  if (width === 32) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join(".");
  const parts = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) parts.push(((value >> shift) & 0xffffn).toString(16));
  // The start of a network ends in zeros: those are what `::` stands for.
  while (parts.length && parts.at(-1) === "0") parts.pop();
  return `${parts.join(":")}::`;
}
