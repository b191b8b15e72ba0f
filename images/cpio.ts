/** One entry of an initial file system, in the order it is to appear. */
export type Entry =
  | { kind: 'directory'; path: string }
  | { kind: 'file'; path: string; mode: number; content: Uint8Array }
  | { kind: 'link'; path: string; target: string }
  | { kind: 'device'; path: string; major: number; minor: number };

const TYPE = { directory: 0o040755, file: 0o100000, link: 0o120777, device: 0o020600 };

function padded(size: number, to: number): number {
  return Math.ceil(size / to) * to;
}

function record(
  name: string,
  fields: { inode: number; mode: number; mtime: number; device: [number, number] },
  content: Uint8Array,
): Buffer {
  const { inode, mode, mtime, device } = fields;
  const links = mode >> 12 === 0o04 ? 2 : 1;
  const nameSize = Buffer.byteLength(name) + 1;
  const words = [inode, mode, 0, 0, links, mtime, content.length, 0, 0, ...device, nameSize, 0];
  const header = `070701${words.map((word) => word.toString(16).padStart(8, '0')).join('')}`;
  const start = padded(header.length + nameSize, 4);
  const bytes = Buffer.alloc(start + padded(content.length, 4));
  bytes.write(header + name);
  bytes.set(content, start);
  return bytes;
}

/** A cpio archive in the "newc" format, the same for the same entries: owner root, one time for all. */
export function cpio(entries: readonly Entry[], mtime: number): Buffer {
  const records = entries.map((entry, index) => {
    const content = entry.kind === 'file' ? entry.content : Buffer.from(entry.kind === 'link' ? entry.target : '');
    const mode = TYPE[entry.kind] | (entry.kind === 'file' ? entry.mode : 0);
    const device: [number, number] = entry.kind === 'device' ? [entry.major, entry.minor] : [0, 0];
    return record(entry.path, { inode: index + 1, mode, mtime, device }, content);
  });
  records.push(record('TRAILER!!!', { inode: 0, mode: 0, mtime: 0, device: [0, 0] }, Buffer.alloc(0)));
  const archive = Buffer.concat(records);
  return Buffer.concat([archive, Buffer.alloc(padded(archive.length, 512) - archive.length)]);
}
