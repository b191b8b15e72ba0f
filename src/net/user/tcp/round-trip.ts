const INITIAL_TIMEOUT_MS = 1000;
/** A guest may be busy or starved for a while; retransmitting to it sooner only adds to that. */
const MIN_TIMEOUT_MS = 500;
const MAX_TIMEOUT_MS = 60_000;

/** Round-trip time and the retransmission timeout that follows from it, in milliseconds (RFC 6298). */
export class RoundTrip {
  #smoothed = 0;
  #variation = 0;
  #base = INITIAL_TIMEOUT_MS;
  #timeout = INITIAL_TIMEOUT_MS;
  /** When the segment being timed was sent, and the sequence number that acknowledges it. */
  #sentAt: number | undefined;
  #seq = 0;

  get timeout(): number {
    return this.#timeout;
  }

  /** New bytes up to `seq` have been sent; they are timed unless others are. */
  sent(seq: number, now: number): void {
    if (this.#sentAt !== undefined) return;
    this.#sentAt = now;
    this.#seq = seq;
  }

  /** Everything up to `ack` has arrived: the timeout is no longer doubled. */
  acknowledged(ack: number, now: number): void {
    if (this.#sentAt !== undefined && ((ack - this.#seq) | 0) >= 0) this.#sample(now - this.#sentAt);
    this.#timeout = this.#base;
  }

  /** Something has been sent twice: its acknowledgement tells nothing of time. */
  forget(): void {
    this.#sentAt = undefined;
  }

  /** Nothing came back in time. */
  double(): void {
    this.#timeout = Math.min(MAX_TIMEOUT_MS, this.#timeout * 2);
    this.forget();
  }

  #sample(ms: number): void {
    this.#sentAt = undefined;
    if (this.#smoothed === 0) {
      this.#smoothed = ms;
      this.#variation = ms / 2;
    } else {
      this.#variation += (Math.abs(this.#smoothed - ms) - this.#variation) / 4;
      this.#smoothed += (ms - this.#smoothed) / 8;
    }
    this.#base = Math.min(MAX_TIMEOUT_MS, Math.max(MIN_TIMEOUT_MS, this.#smoothed + 4 * this.#variation));
  }
}
