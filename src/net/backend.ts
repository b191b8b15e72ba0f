/** The far side of a network card: whole Ethernet frames (no FCS), in both directions. */
export interface NetBackend {
  readonly name: string;
  /** `send` understands `offload`; otherwise the card finishes checksums and cuts segments itself. */
  readonly acceptsOffload?: boolean;
  /** A frame from the guest. The backend copies what it keeps; `frame` is reused after return. `offload` as virtio-net gave it. */
  send(frame: Uint8Array, offload?: FrameOffload): void;
  /** The card sets this; the backend calls it with each frame for the guest. Returns false when the card has no room now. */
  onFrame: ((frame: Uint8Array, offload?: FrameOffload) => boolean) | undefined;
  /** The card calls this when room has come back after `onFrame` returned false. */
  onRoom?(): void;
  /** Closes every host resource (sockets, listeners, timers). */
  close(): Promise<void>;
}

/** Checksum and segmentation work left undone in a frame (virtio 1.2, 5.1.6.2). */
export interface FrameOffload {
  /** The L4 checksum is still to be computed: from `csumStart` to the end, stored at csumStart + csumOffset. */
  readonly needsChecksum: boolean;
  readonly csumStart: number;
  readonly csumOffset: number;
  /** 'none' or a super-frame that is to be cut into segments of `gsoSize` payload bytes. */
  readonly gso: 'none' | 'tcp4' | 'tcp6' | 'udp';
  readonly gsoSize: number;
}
