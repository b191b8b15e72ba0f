const QUIET_MS = 1000;
const INTERVAL_MS = 500;

/** Reports the unpacking of a file once it has taken over a second, twice a second at most. */
export function progressReporter(note: (line: string) => void): (file: string, produced: number) => void {
  const started = new Map<string, number>();
  let next = 0;
  return (file, produced) => {
    const now = performance.now();
    const start = started.get(file) ?? now;
    started.set(file, start);
    if (now < Math.max(next, start + QUIET_MS)) return;
    next = now + INTERVAL_MS;
    note(`${file}: unpacked ${(produced / (1 << 20)).toFixed(1)} MiB after ${((now - start) / 1000).toFixed(1)} s`);
  };
}
