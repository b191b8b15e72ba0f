import type { Profile, ProfileFrame, ProfileNode } from './profile.ts';

const WIDTH = 1200;
const ROW = 17;
const MARGIN = 10;
const HEADER = 40;
/** Narrower boxes are left out; text needs so much for a character. */
const LEAST_WIDTH = 0.3;
const CHARACTER = 6.6;

/** Hue of the boxes by what the code belongs to. */
const HUES: Readonly<Record<ProfileFrame['part'], number>> = {
  task: 220,
  user: 205,
  application: 130,
  entry: 5,
  kernel: 32,
};

/** A flame graph as a self-contained SVG: callers below, callees above, widths by instructions; a box tells its figures when pointed at. */
export function flameGraph(profile: Profile, title: string): string {
  const { root } = profile;
  const rows = depthOf(root);
  const height = HEADER + rows * ROW + 2 * MARGIN;
  const boxes: string[] = [];
  const scale = (WIDTH - 2 * MARGIN) / Math.max(1, root.total);
  const draw = (node: ProfileNode, x: number, row: number): void => {
    const width = node.total * scale;
    if (width < LEAST_WIDTH) return;
    boxes.push(box(profile, node, x, height - MARGIN - (row + 1) * ROW, width));
    let at = x;
    const children = [...node.children.values()].sort((a, b) => (a.frame.name < b.frame.name ? -1 : 1));
    for (const child of children) {
      draw(child, at, row + 1);
      at += child.total * scale;
    }
  };
  draw(root, MARGIN, 0);
  const legend = Object.entries(HUES).map(
    ([part, hue], index) =>
      `<rect x="${WIDTH - 420 + index * 82}" y="12" width="10" height="10" fill="${colour(hue, part)}"/>` +
      `<text x="${WIDTH - 406 + index * 82}" y="21">${part}</text>`,
  );
  return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="11">
<rect width="100%" height="100%" fill="#fdfdfb"/>
<text x="${MARGIN}" y="22" font-size="14">${markup(title)}</text>
${legend.join('\n')}
${boxes.join('\n')}
</svg>
`;
}

function depthOf(node: ProfileNode): number {
  return 1 + Math.max(0, ...[...node.children.values()].map(depthOf));
}

function box({ root, interval }: Profile, { frame, total }: ProfileNode, x: number, y: number, width: number): string {
  const share = ((total / Math.max(1, root.total)) * 100).toFixed(2);
  const label = `${frame.name} (${frame.part}): ${total} samples, ${total * interval} instructions, ${share} %`;
  const room = Math.floor((width - 4) / CHARACTER);
  const shown = frame.name.length <= room ? frame.name : room > 3 ? `${frame.name.slice(0, room - 2)}..` : '';
  const text = shown === '' ? '' : `<text x="${(x + 2).toFixed(2)}" y="${y + 12}">${markup(shown)}</text>`;
  const fill = colour(HUES[frame.part], frame.name);
  const area = `x="${x.toFixed(2)}" y="${y}" width="${width.toFixed(2)}" height="${ROW - 1}"`;
  return `<g><title>${markup(label)}</title><rect ${area} fill="${fill}"/>${text}</g>`;
}

/** A shade that is the same wherever the name appears. */
function colour(hue: number, name: string): string {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.charCodeAt(0)) & 0xffff;
  return `hsl(${hue},${55 + (hash % 25)}%,${62 + ((hash >> 5) % 16)}%)`;
}

function markup(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
