/** Why a connection could not be made; decides what the guest is told. */
export type ConnectFailure =
  /** The guest gets a reset. */
  | 'refused'
  /** The guest gets an ICMP message. */
  | 'unreachable'
  /** The guest gets nothing: it tries again. */
  | 'timeout';

/**
 * The host's end of a connection with the guest: a socket, or a stream of this process. It calls `TcpConnection.connected`, `push`,
 * `failed`, `finish`, `abort` and `drained`; the connection calls these.
 */
export interface TcpPeer {
  /** Bytes from the guest, in order; what is kept has to be copied. */
  write(data: Uint8Array): void;
  /** The guest sends no more. */
  end(): void;
  /** The guest has accepted the connection (only where the host opened it). */
  opened(): void;
  /** The connection is over without the normal end. */
  reset(reason: ResetReason): void;
  /** Both directions have ended and everything is acknowledged. */
  closed(): void;
  /** The guest is slow: push no more until `resume`. */
  pause(): void;
  resume(): void;
  /** Bytes given to `write` that the host has not taken yet. */
  readonly queued: number;
}

export type ResetReason = 'refused' | 'reset' | 'timeout' | 'closed';
