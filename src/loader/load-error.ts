/** What a loader says when a file cannot be used. */

/** Where the trouble is and what the user can do about it. */
export interface LoadProblem {
  /** Name of the file as the user gave it. */
  readonly file: string;
  /** The field or part of the file that is wrong, by its name in the format's specification. */
  readonly field: string;
  readonly problem: string;
  /** What the user can do. */
  readonly remedy: string;
}

/** A file (kernel, initrd, command line) that cannot be booted. `message` is one line naming file, field and remedy. */
export class LoadError extends Error implements LoadProblem {
  override readonly name = 'LoadError';
  readonly file: string;
  readonly field: string;
  readonly problem: string;
  readonly remedy: string;

  constructor({ file, field, problem, remedy }: LoadProblem) {
    super(oneLine(`${file}: ${field}: ${problem}; ${remedy}`));
    this.file = file;
    this.field = field;
    this.problem = problem;
    this.remedy = remedy;
  }
}

/** `text` with every control character (a file name may hold newlines) made a space. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ');
}

/** An address or size for a message. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** The LoadError for a file the host could not read, by the host's error code (EISDIR, ENOENT, EACCES, ...). */
export function unreadableFile(file: string, code: string): LoadError {
  const known: Readonly<Record<string, readonly [string, string]>> = {
    EISDIR: ['is a directory', 'name the file itself'],
    ENOENT: ['does not exist', 'check the path'],
    EACCES: ['may not be read', 'check its permissions'],
    EPERM: ['may not be read', 'check its permissions'],
    ERR_FS_FILE_TOO_LARGE: ['is too large to read', 'name a kernel or initrd, not a disk image'],
  };
  const [problem, remedy] = known[code] ?? [`cannot be read (${code})`, 'check the path'];
  return new LoadError({ file, field: 'path', problem, remedy });
}
