/**
 * The LZMA decoder proper: range coder, probabilities and match copying, as the LZMA specification (lzma-specification.txt
 * of the LZMA SDK) defines them. The output itself is the dictionary. Containers are in lzma.ts and xz.ts.
 */

import { DecompressError } from './decompressor.ts';
import type { OutputBuffer } from './output.ts';

const PROBABILITY_BITS = 11;
const PROBABILITY_ONE = 1 << PROBABILITY_BITS;
const PROBABILITY_INIT = PROBABILITY_ONE >> 1;
const MOVE_BITS = 5;
/** The range is refilled below this. */
const TOP = 1 << 24;

const STATES = 12;
/** States below this follow a literal. */
const LITERAL_STATES = 7;
const MAX_POSITION_STATES = 16;
const LENGTH_STATES = 4;
const MIN_MATCH = 2;
const DISTANCE_MODEL_START = 4;
const DISTANCE_MODEL_END = 14;
const FULL_DISTANCES = 1 << (DISTANCE_MODEL_END / 2);
const ALIGN_BITS = 4;

/** Offsets into the probabilities. A length coder: choice, choice2, low and mid trees (8 for each position state), high tree. */
const LENGTH_LOW = 2;
const LENGTH_MID = LENGTH_LOW + MAX_POSITION_STATES * 8;
const LENGTH_HIGH = LENGTH_MID + MAX_POSITION_STATES * 8;
const LENGTH_SIZE = LENGTH_HIGH + 256;

const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * MAX_POSITION_STATES;
const IS_REP_G0 = IS_REP + STATES;
const IS_REP_G1 = IS_REP_G0 + STATES;
const IS_REP_G2 = IS_REP_G1 + STATES;
const IS_REP0_LONG = IS_REP_G2 + STATES;
const DISTANCE_SLOT = IS_REP0_LONG + STATES * MAX_POSITION_STATES;
const DISTANCE_SPECIAL = DISTANCE_SLOT + LENGTH_STATES * 64;
const DISTANCE_ALIGN = DISTANCE_SPECIAL + FULL_DISTANCES;
const MATCH_LENGTH = DISTANCE_ALIGN + (1 << ALIGN_BITS);
const REP_LENGTH = MATCH_LENGTH + LENGTH_SIZE;
const LITERAL = REP_LENGTH + LENGTH_SIZE;
const LITERAL_SIZE = 0x300;

export class LzmaDecoder {
  readonly #input: Uint8Array;
  readonly #output: OutputBuffer;
  /** Offset of the next byte of input. */
  offset: number;
  /** Output position the dictionary starts at: no match reaches further back. */
  dictionaryStart = 0;
  #range = 0;
  #code = 0;
  #state = 0;
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;
  /** Bytes of a match that the last `decode` had no room for. */
  #pending = 0;
  #literalContextBits = 0;
  #literalPositionMask = 0;
  #positionMask = 0;
  #probabilities = new Uint16Array(LITERAL);
  /** End of the input that may be read. */
  #end: number;

  constructor(input: Uint8Array, offset: number, output: OutputBuffer) {
    this.#input = input;
    this.#output = output;
    this.offset = offset;
    this.#end = input.length;
  }

  /** Takes the properties byte (lc + 9 * (lp + 5 * pb)) and resets the state. */
  setProperties(properties: number): void {
    if (properties >= 9 * 5 * 5) throw damaged();
    const rest = Math.floor(properties / 9);
    this.#literalContextBits = properties % 9;
    this.#literalPositionMask = (1 << (rest % 5)) - 1;
    this.#positionMask = (1 << Math.floor(rest / 5)) - 1;
    this.#probabilities = new Uint16Array(LITERAL + (LITERAL_SIZE << (this.#literalContextBits + (rest % 5))));
    this.resetState();
  }

  resetState(): void {
    this.#probabilities.fill(PROBABILITY_INIT);
    this.#state = 0;
    this.#rep0 = 0;
    this.#rep1 = 0;
    this.#rep2 = 0;
    this.#rep3 = 0;
    this.#pending = 0;
  }

  /** Starts the range coder: five bytes, of which the first is zero. `end` bounds the input of this stream or chunk. */
  startRangeCoder(end: number): void {
    if (end > this.#input.length || this.offset + 5 > end) throw endsEarly();
    this.#end = end;
    const input = this.#input;
    const at = this.offset;
    if (input[at] !== 0) throw damaged();
    this.#range = -1;
    this.#code = (input[at + 1]! << 24) | (input[at + 2]! << 16) | (input[at + 3]! << 8) | input[at + 4]!;
    this.offset = at + 5;
  }

  /** True when the range coder has come out even, as it does at the end of a stream or chunk. */
  get rangeCoderFinished(): boolean {
    return this.#code === 0;
  }

  /**
   * Decodes until the output is `limit` bytes long (then "limit"; there must be room) or the end marker ("end").
   * The range coder is written out where it is used, since calls and fields would halve the speed.
   */
  decode(limit: number): 'limit' | 'end' {
    const input = this.#input;
    const out = this.#output.bytes;
    const probs = this.#probabilities;
    const end = this.#end;
    const start = this.dictionaryStart;
    const lc = this.#literalContextBits;
    const lpMask = this.#literalPositionMask;
    const pbMask = this.#positionMask;
    let pos = this.#output.length;
    let ip = this.offset;
    let range = this.#range;
    let code = this.#code;
    let state = this.#state;
    let rep0 = this.#rep0;
    let rep1 = this.#rep1;
    let rep2 = this.#rep2;
    let rep3 = this.#rep3;
    let length = this.#pending;
    let bound = 0;
    let p = 0;
    let result: 'limit' | 'end' = 'limit';

    for (;;) {
      if (length > 0) {
        const room = limit - pos;
        const count = Math.min(length, room);
        length -= count;
        // As a signed number a distance beyond 2 GiB is negative, so that it lands outside too.
        let from = pos - rep0 - 1;
        if (rep0 < 0 || from < start) throw damaged();
        for (const stop = pos + count; pos < stop; ) out[pos++] = out[from++]!;
      }
      if (pos >= limit || ip > end) break;
      const posState = (pos - start) & pbMask;
      let at = IS_MATCH + (state << 4) + posState;
      p = probs[at]!;
      bound = Math.imul(range >>> PROBABILITY_BITS, p);
      if (code >>> 0 < bound >>> 0) {
        range = bound;
        probs[at] = p + ((PROBABILITY_ONE - p) >> MOVE_BITS);
        if (range >>> 0 < TOP) {
          range <<= 8;
          code = (code << 8) | input[ip++]!;
        }
        // Literal.
        const previous = pos > start ? out[pos - 1]! : 0;
        const context = (((pos - start) & lpMask) << lc) + (previous >> (8 - lc));
        const base = LITERAL + context * LITERAL_SIZE;
        let symbol = 1;
        if (state >= LITERAL_STATES) {
          let match = out[pos - rep0 - 1]!;
          let offset = 0x100;
          do {
            match <<= 1;
            const bit = match & offset;
            at = base + offset + bit + symbol;
            p = probs[at]!;
            bound = Math.imul(range >>> PROBABILITY_BITS, p);
            if (code >>> 0 < bound >>> 0) {
              range = bound;
              probs[at] = p + ((PROBABILITY_ONE - p) >> MOVE_BITS);
              symbol <<= 1;
              offset &= ~bit;
            } else {
              range = (range - bound) | 0;
              code = (code - bound) | 0;
              probs[at] = p - (p >> MOVE_BITS);
              symbol = (symbol << 1) | 1;
              offset &= bit;
            }
            if (range >>> 0 < TOP) {
              range <<= 8;
              code = (code << 8) | input[ip++]!;
            }
          } while (symbol < 0x100);
        } else {
          do {
            at = base + symbol;
            p = probs[at]!;
            bound = Math.imul(range >>> PROBABILITY_BITS, p);
            if (code >>> 0 < bound >>> 0) {
              range = bound;
              probs[at] = p + ((PROBABILITY_ONE - p) >> MOVE_BITS);
              symbol <<= 1;
            } else {
              range = (range - bound) | 0;
              code = (code - bound) | 0;
              probs[at] = p - (p >> MOVE_BITS);
              symbol = (symbol << 1) | 1;
            }
            if (range >>> 0 < TOP) {
              range <<= 8;
              code = (code << 8) | input[ip++]!;
            }
          } while (symbol < 0x100);
        }
        out[pos++] = symbol;
        state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
        continue;
      }
      range = (range - bound) | 0;
      code = (code - bound) | 0;
      probs[at] = p - (p >> MOVE_BITS);
      if (range >>> 0 < TOP) {
        range <<= 8;
        code = (code << 8) | input[ip++]!;
      }

      // A match: new or repeated distance.
      let lengthBase = REP_LENGTH;
      at = IS_REP + state;
      p = probs[at]!;
      bound = Math.imul(range >>> PROBABILITY_BITS, p);
      if (code >>> 0 < bound >>> 0) {
        range = bound;
        probs[at] = p + ((PROBABILITY_ONE - p) >> MOVE_BITS);
        if (range >>> 0 < TOP) {
          range <<= 8;
          code = (code << 8) | input[ip++]!;
        }
        rep3 = rep2;
        rep2 = rep1;
        rep1 = rep0;
        lengthBase = MATCH_LENGTH;
        state = state < LITERAL_STATES ? 7 : 10;
      } else {
        range = (range - bound) | 0;
        code = (code - bound) | 0;
        probs[at] = p - (p >> MOVE_BITS);
        if (range >>> 0 < TOP) {
          range <<= 8;
          code = (code << 8) | input[ip++]!;
        }
        // Which repeated distance: 0 short, 0 long, 1, 2 or 3, as a walk down four binary decisions.
        let which = 0;
        let short = false;
        for (let step = 0; ; step++) {
          at = step === 0 ? IS_REP_G0 + state : step === 1 ? IS_REP_G1 + state : IS_REP_G2 + state;
          p = probs[at]!;
          bound = Math.imul(range >>> PROBABILITY_BITS, p);
          const zero = code >>> 0 < bound >>> 0;
          if (zero) {
            range = bound;
            probs[at] = p + ((PROBABILITY_ONE - p) >> MOVE_BITS);
          } else {
            range = (range - bound) | 0;
            code = (code - bound) | 0;
            probs[at] = p - (p >> MOVE_BITS);
            which++;
          }
          if (range >>> 0 < TOP) {
            range <<= 8;
            code = (code << 8) | input[ip++]!;
          }
          if (zero || step === 2) break;
        }
        if (which === 0) {
          at = IS_REP0_LONG + (state << 4) + posState;
          p = probs[at]!;
          bound = Math.imul(range >>> PROBABILITY_BITS, p);
          if (code >>> 0 < bound >>> 0) {
            range = bound;
            probs[at] = p + ((PROBABILITY_ONE - p) >> MOVE_BITS);
            short = true;
          } else {
            range = (range - bound) | 0;
            code = (code - bound) | 0;
            probs[at] = p - (p >> MOVE_BITS);
          }
          if (range >>> 0 < TOP) {
            range <<= 8;
            code = (code << 8) | input[ip++]!;
          }
        } else {
          let distance = rep1;
          if (which > 1) {
            if (which === 2) distance = rep2;
            else {
              distance = rep3;
              rep3 = rep2;
            }
            rep2 = rep1;
          }
          rep1 = rep0;
          rep0 = distance;
        }
        if (short) {
          state = state < LITERAL_STATES ? 9 : 11;
          length = 1;
          continue;
        }
        state = state < LITERAL_STATES ? 8 : 11;
      }

      // Length: two choices, then a tree of 3 or 8 bits.
      let tree = lengthBase + LENGTH_HIGH;
      let treeBits = 8;
      let extra = 16;
      for (let choice = 0; choice < 2; choice++) {
        at = lengthBase + choice;
        p = probs[at]!;
        bound = Math.imul(range >>> PROBABILITY_BITS, p);
        const zero = code >>> 0 < bound >>> 0;
        if (zero) {
          range = bound;
          probs[at] = p + ((PROBABILITY_ONE - p) >> MOVE_BITS);
          tree = lengthBase + (choice === 0 ? LENGTH_LOW : LENGTH_MID) + (posState << 3);
          treeBits = 3;
          extra = choice << 3;
        } else {
          range = (range - bound) | 0;
          code = (code - bound) | 0;
          probs[at] = p - (p >> MOVE_BITS);
        }
        if (range >>> 0 < TOP) {
          range <<= 8;
          code = (code << 8) | input[ip++]!;
        }
        if (zero) break;
      }
      let symbol = 1;
      for (let bit = 0; bit < treeBits; bit++) {
        at = tree + symbol;
        p = probs[at]!;
        bound = Math.imul(range >>> PROBABILITY_BITS, p);
        if (code >>> 0 < bound >>> 0) {
          range = bound;
          probs[at] = p + ((PROBABILITY_ONE - p) >> MOVE_BITS);
          symbol <<= 1;
        } else {
          range = (range - bound) | 0;
          code = (code - bound) | 0;
          probs[at] = p - (p >> MOVE_BITS);
          symbol = (symbol << 1) | 1;
        }
        if (range >>> 0 < TOP) {
          range <<= 8;
          code = (code << 8) | input[ip++]!;
        }
      }
      length = symbol - (1 << treeBits) + extra + MIN_MATCH;
      if (lengthBase === REP_LENGTH) continue;

      // Distance: a slot of 6 bits, then direct or modelled bits.
      const lengthState = length - MIN_MATCH < LENGTH_STATES ? length - MIN_MATCH : LENGTH_STATES - 1;
      tree = DISTANCE_SLOT + (lengthState << 6);
      symbol = 1;
      do {
        at = tree + symbol;
        p = probs[at]!;
        bound = Math.imul(range >>> PROBABILITY_BITS, p);
        if (code >>> 0 < bound >>> 0) {
          range = bound;
          probs[at] = p + ((PROBABILITY_ONE - p) >> MOVE_BITS);
          symbol <<= 1;
        } else {
          range = (range - bound) | 0;
          code = (code - bound) | 0;
          probs[at] = p - (p >> MOVE_BITS);
          symbol = (symbol << 1) | 1;
        }
        if (range >>> 0 < TOP) {
          range <<= 8;
          code = (code << 8) | input[ip++]!;
        }
      } while (symbol < 64);
      const slot = symbol - 64;
      if (slot < DISTANCE_MODEL_START) {
        rep0 = slot;
        continue;
      }
      let bits = (slot >> 1) - 1;
      rep0 = (2 | (slot & 1)) << bits;
      if (slot < DISTANCE_MODEL_END) {
        tree = DISTANCE_SPECIAL + rep0 - slot;
      } else {
        for (let shift = bits - 1; shift >= ALIGN_BITS; shift--) {
          range >>>= 1;
          if (code >>> 0 >= range >>> 0) {
            code = (code - range) | 0;
            rep0 |= 1 << shift;
          }
          if (range >>> 0 < TOP) {
            range <<= 8;
            code = (code << 8) | input[ip++]!;
          }
        }
        tree = DISTANCE_ALIGN;
        bits = ALIGN_BITS;
      }
      // Reverse tree: the lowest bit comes first.
      symbol = 1;
      for (let bit = 0; bit < bits; bit++) {
        at = tree + symbol;
        p = probs[at]!;
        bound = Math.imul(range >>> PROBABILITY_BITS, p);
        if (code >>> 0 < bound >>> 0) {
          range = bound;
          probs[at] = p + ((PROBABILITY_ONE - p) >> MOVE_BITS);
          symbol <<= 1;
        } else {
          range = (range - bound) | 0;
          code = (code - bound) | 0;
          probs[at] = p - (p >> MOVE_BITS);
          symbol = (symbol << 1) | 1;
          rep0 |= 1 << bit;
        }
        if (range >>> 0 < TOP) {
          range <<= 8;
          code = (code << 8) | input[ip++]!;
        }
      }
      // All ones is the end marker.
      if (rep0 === -1) {
        length = 0;
        result = 'end';
        break;
      }
    }
    if (ip > end) throw endsEarly();
    this.#output.length = pos;
    this.offset = ip;
    this.#range = range;
    this.#code = code;
    this.#state = state;
    this.#rep0 = rep0;
    this.#rep1 = rep1;
    this.#rep2 = rep2;
    this.#rep3 = rep3;
    this.#pending = length;
    return result;
  }
}

function damaged(): DecompressError {
  return new DecompressError('the LZMA data is damaged');
}

function endsEarly(): DecompressError {
  return new DecompressError('the LZMA data ends early');
}
