/** The Multiboot 1 header (Multiboot Specification 0.6.96, section 3.1), found and checked for magic and checksum. */

const MULTIBOOT_HEADER_MAGIC = 0x1badb002;
/** The header lies wholly in the first 8192 bytes, on a 32-bit boundary. */
const SEARCH_LENGTH = 8192;

export interface MultibootHeader {
  /** Offset of the header in the file. */
  readonly offset: number;
  readonly flags: number;
  /** The a.out address fields, present when flag bit 16 is set; `entry` is physical. */
  readonly addresses:
    | {
        readonly header: number;
        readonly load: number;
        /** 0: load to the end of the file. */
        readonly loadEnd: number;
        /** 0: no bss. */
        readonly bssEnd: number;
        readonly entry: number;
      }
    | undefined;
}

/** The first header with the right magic and checksum, or undefined. */
export function findMultibootHeader(bytes: Uint8Array): MultibootHeader | undefined {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = Math.min(bytes.length, SEARCH_LENGTH);
  for (let offset = 0; offset + 12 <= end; offset += 4) {
    if (data.getUint32(offset, true) !== MULTIBOOT_HEADER_MAGIC) continue;
    const flags = data.getUint32(offset + 4, true);
    if (((MULTIBOOT_HEADER_MAGIC + flags + data.getUint32(offset + 8, true)) | 0) !== 0) continue;
    const hasAddresses = (flags & 0x1_0000) !== 0 && offset + 32 <= end;
    const addresses = hasAddresses
      ? {
          header: data.getUint32(offset + 12, true),
          load: data.getUint32(offset + 16, true),
          loadEnd: data.getUint32(offset + 20, true),
          bssEnd: data.getUint32(offset + 24, true),
          entry: data.getUint32(offset + 28, true),
        }
      : undefined;
    return { offset, flags, addresses };
  }
  return undefined;
}
