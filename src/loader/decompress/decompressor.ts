/** What every unpacker offers. */

export interface DecompressOptions {
  /** Most bytes of output; more is an error, so that a small file cannot fill the host's memory. */
  readonly maxOutput: number;
  /** Output size if the caller knows it: saves copying, is not relied upon. */
  readonly sizeHint?: number;
  /** Called now and then with bytes of input consumed and of output made. */
  readonly onProgress?: (consumed: number, produced: number) => void;
}

export interface Decompressed {
  readonly output: Uint8Array;
  /** Bytes of input that belonged to the stream; what follows is another member or padding. */
  readonly consumed: number;
}

/** One compression format. */
export interface Decompressor {
  readonly name: 'gzip' | 'zstd' | 'xz' | 'lzma' | 'lz4' | 'bzip2';
  /** True when `bytes` begin with this format's magic. */
  detect(bytes: Uint8Array): boolean;
  /** Unpacks the stream at the start of `bytes`. Rejects with DecompressError. */
  decompress(bytes: Uint8Array, options: DecompressOptions): Promise<Decompressed>;
}

/** Input that is no valid stream, or one that unpacks to more than allowed; `message` completes "cannot be unpacked: ...". */
export class DecompressError extends Error {
  override readonly name = 'DecompressError';
  /** True when the output would have been larger than maxOutput. */
  readonly tooLarge: boolean;

  constructor(message: string, tooLarge = false) {
    super(message);
    this.tooLarge = tooLarge;
  }
}

/** The error for output beyond `maxOutput` bytes. */
export function outputTooLarge(maxOutput: number): DecompressError {
  return new DecompressError(`it unpacks to more than the ${maxOutput} bytes there is room for`, true);
}
