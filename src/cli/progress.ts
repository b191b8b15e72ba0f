const QUIET_MS = 1000;
const INTERVAL_MS = 500;

/** Reports unpacking once it has taken over a second, twice a second at most. */
export function progressReporter(note: (line: string) => void): (file: string, produced: number) => void {
  const start = performance.now();
  let next = start + QUIET_MS;
  return (file, produced) => {
    const now = performance.now();
    if (now < next) return;
    next = now + INTERVAL_MS;
    note(`${file}: unpacked ${(produced / (1 << 20)).toFixed(1)} MiB after ${((now - start) / 1000).toFixed(1)} s`);
  };
}
