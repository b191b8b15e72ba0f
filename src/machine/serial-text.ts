/** The text of a serial stream, kept as far as patterns may need it. */

/** Characters kept before the newest output. */
const KEEP = 0x4_0000;
/** A match may begin at most this many characters before the newest output that completes it. */
const OVERLAP = 0x1000;

export class SerialText {
  readonly #decoder = new TextDecoder('utf-8', { fatal: false });
  #text = '';
  /** Position of the first character of #text in the whole stream. */
  #base = 0;

  /** Position after the newest character, counted from the start of the stream. */
  get end(): number {
    return this.#base + this.#text.length;
  }

  append(bytes: Uint8Array): void {
    this.#text += this.#decoder.decode(bytes, { stream: true });
    if (this.#text.length > 2 * KEEP) {
      const drop = this.#text.length - KEEP;
      this.#text = this.#text.slice(drop);
      this.#base += drop;
    }
  }

  /** The last `length` characters. */
  tail(length: number): string {
    return this.#text.slice(-length);
  }

  /** The first match at or after position `from`. */
  find(pattern: SearchPattern, from: number): RegExpExecArray | undefined {
    const { regexp } = pattern;
    regexp.lastIndex = Math.max(0, Math.max(from, pattern.searched - OVERLAP) - this.#base);
    const match = regexp.exec(this.#text);
    pattern.searched = this.end;
    return match ?? undefined;
  }

  /** Position in the stream of the end of a match that `find` has just returned. */
  endOf(match: RegExpExecArray): number {
    return this.#base + match.index + match[0].length;
  }
}

/** A pattern and how far the stream has been searched for it. */
export interface SearchPattern {
  readonly regexp: RegExp;
  searched: number;
}

/** The caller's expression is copied: searching moves `lastIndex`. */
export function searchPattern(regexp: RegExp): SearchPattern {
  const flags = new Set(regexp.flags);
  flags.add('g');
  flags.delete('y');
  return { regexp: new RegExp(regexp.source, [...flags].join('')), searched: 0 };
}
