/** Horizontal bars on a logarithmic scale, as SVG text: one group a row, one bar a series. */
export interface Chart {
  readonly title: string;
  /** What a value means, with its unit. */
  readonly axis: string;
  readonly series: readonly string[];
  readonly rows: readonly { readonly label: string; readonly values: readonly (number | undefined)[] }[];
}

const COLOURS = ['#2563eb', '#f59e0b', '#6b7280', '#059669'];
const LABEL_WIDTH = 190;
const PLOT_WIDTH = 520;
const VALUE_WIDTH = 70;
const BAR = 12;
const GAP = 8;
const TOP = 62;
const BOTTOM = 54;

const escapeText = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

export function barChart({ title, axis, series, rows }: Chart): string {
  const values = rows.flatMap((row) => row.values.filter((value) => value !== undefined));
  const low = 10 ** Math.floor(Math.log10(Math.min(...values)) - 0.01);
  const high = 10 ** Math.ceil(Math.log10(Math.max(...values)) + 0.01);
  const x = (value: number): number => LABEL_WIDTH + (PLOT_WIDTH * Math.log10(value / low)) / Math.log10(high / low);
  const group = series.length * BAR + GAP;
  const height = TOP + rows.length * group + BOTTOM;
  const width = LABEL_WIDTH + PLOT_WIDTH + VALUE_WIDTH;
  const out: string[] = [];
  const text = (at: number, y: number, content: string, more = ''): void => {
    out.push(`<text x="${at.toFixed(1)}" y="${y.toFixed(1)}"${more}>${escapeText(content)}</text>`);
  };
  text(10, 22, title, ' font-size="15" font-weight="bold"');
  series.forEach((name, n) => {
    out.push(`<rect x="${10 + n * 110}" y="34" width="10" height="10" fill="${COLOURS[n]}"/>`);
    text(25 + n * 110, 43, name);
  });
  for (let tick = low; tick <= high * 1.001; tick *= 10) {
    out.push(`<path d="M${x(tick).toFixed(1)} ${TOP - 6}V${height - BOTTOM + 4}" stroke="#d1d5db"/>`);
    text(x(tick), height - BOTTOM + 18, short(tick), ' text-anchor="middle"');
  }
  rows.forEach(({ label, values: bars }, row) => {
    const y = TOP + row * group;
    text(LABEL_WIDTH - 8, y + (series.length * BAR) / 2 + 4, label, ' text-anchor="end"');
    bars.forEach((value, n) => {
      if (value === undefined) return;
      const end = Math.max(x(value), LABEL_WIDTH + 1);
      const bar = `x="${LABEL_WIDTH}" y="${y + n * BAR}" width="${(end - LABEL_WIDTH).toFixed(1)}" height="${BAR - 2}"`;
      out.push(`<rect ${bar} fill="${COLOURS[n]}"/>`);
      text(end + 4, y + n * BAR + 9, short(value), ' font-size="10"');
    });
  });
  text(LABEL_WIDTH + PLOT_WIDTH / 2, height - 12, axis, ' text-anchor="middle"');
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="12" fill="#111827">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...out,
    '</svg>\n',
  ].join('\n');
}

/** Three digits. */
export function short(value: number): string {
  if (value === 0) return '0';
  const digits = 2 - Math.floor(Math.log10(Math.abs(value)));
  return digits > 0
    ? value
        .toFixed(Math.min(digits, 4))
        .replace(/(\.\d*?)0+$/, '$1')
        .replace(/\.$/, '')
    : value.toFixed(0);
}
