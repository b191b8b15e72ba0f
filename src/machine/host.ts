/**
 * What a machine needs of the program it runs in: time, a turn of the event loop, entropy. Injected, so that tests can play the host
 * and the core runs wherever JavaScript does.
 */
export interface Host {
  /** Nanoseconds from any origin, never going back. */
  monotonicNs(): number;
  /** Wall-clock time, milliseconds since 1970. */
  wallClockMs(): number;
  /** Calls back as soon as the event loop has served what is waiting. */
  defer(callback: () => void): void;
  /** Calls back after about `ms` milliseconds (whole ones, at least 1); the result cancels. */
  delay(ms: number, callback: () => void): () => void;
  /** Fills the array (at most 65536 bytes) with random bytes. */
  entropy(into: Uint8Array<ArrayBuffer>): void;
}

/** The host as the standard globals show it: Node, or a browser's worker. */
export function createDefaultHost(): Host {
  return {
    monotonicNs: () => performance.now() * 1e6,
    wallClockMs: () => Date.now(),
    defer: deferrer(),
    delay(ms, callback) {
      const timer = setTimeout(callback, ms);
      return () => clearTimeout(timer);
    },
    entropy: (into) => void crypto.getRandomValues(into),
  };
}

/** setImmediate where there is one; elsewhere a message to oneself, since a browser's timers wait 4 ms. */
function deferrer(): (callback: () => void) => void {
  if (typeof setImmediate === 'function') return (callback) => void setImmediate(callback);
  const { port1, port2 } = new MessageChannel();
  const queue: (() => void)[] = [];
  port1.onmessage = () => queue.shift()?.();
  return (callback) => {
    queue.push(callback);
    port2.postMessage(undefined);
  };
}
