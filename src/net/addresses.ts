/** IPv4 addresses as unsigned 32-bit numbers, MAC addresses as six bytes, and their usual spellings. */

/** `10.0.2.15` as 0x0a00020f; undefined for anything but four decimal bytes. */
export function parseIpv4(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  let address = 0;
  for (let i = 1; i <= 4; i++) {
    const byte = Number(match[i]);
    if (byte > 255) return undefined;
    address = address * 256 + byte;
  }
  return address;
}

export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** Six bytes of hexadecimal with `:` or `-` between them. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{1,2}([:-][0-9a-f]{1,2}){5}$/i.test(text)) return undefined;
  return Uint8Array.from(text.split(/[:-]/), (byte) => Number.parseInt(byte, 16));
}

export function formatMac(mac: Uint8Array): string {
  return Array.from(mac.subarray(0, 6), (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** The netmask with `prefix` leading ones (0 to 32). */
export function prefixMask(prefix: number): number {
  return prefix === 0 ? 0 : (-1 << (32 - prefix)) >>> 0;
}

/** 127.0.0.0/8. */
export const isLoopback = (address: number): boolean => address >>> 24 === 127;

/** Addresses no host answers at: 0.0.0.0/8, multicast, reserved and the broadcast address. */
export const isUnroutable = (address: number): boolean => address >>> 24 === 0 || address >>> 28 >= 14;
