/** The kernel command line as bytes. */

import { LoadError } from '../loader/load-error.ts';

/** Bytes of the longest command line before protocol 2.06 named the limit (boot.rst, cmdline_size). */
export const DEFAULT_CMDLINE_SIZE = 255;

/**
 * `text` as NUL-terminated ASCII. `limit` is the most characters the kernel takes, NUL not counted. `file` names the kernel.
 * Throws LoadError when the line is too long or holds what is not printable ASCII.
 */
export function encodeCmdline(text: string, limit: number, file: string): Uint8Array {
  const wrong = [...text].find((character) => character < ' ' || character > '~');
  if (wrong !== undefined) {
    const code = wrong.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0');
    throw new LoadError({
      file,
      field: 'command line',
      problem: `contains U+${code}, which is not printable ASCII`,
      remedy: 'remove that character from --append',
    });
  }
  if (text.length > limit) {
    throw new LoadError({
      file,
      field: 'cmdline_size',
      problem: `the command line has ${text.length} characters, this kernel takes ${limit}`,
      remedy: 'shorten --append',
    });
  }
  return new TextEncoder().encode(`${text}\0`);
}
