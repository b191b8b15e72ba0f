import { prefixMask } from '../addresses.ts';

/** Addresses and policy of a user network. */
export interface UserNetConfig {
  /** Address and netmask of the virtual subnet. */
  readonly network: number;
  readonly mask: number;
  /** The gateway, which stands for the host. */
  readonly gateway: number;
  readonly dns: number;
  /** First address given out by DHCP: that of the guest, where there is only one. */
  readonly firstGuest: number;
  /** Told to the guest by DHCP. */
  readonly hostname: string | undefined;
  /** The guest reaches nothing but what is forwarded or listened for explicitly. */
  readonly restrict: boolean;
  /** Connections to the gateway's address reach the host's loopback. */
  readonly hostLoopback: boolean;
}

/** QEMU's addresses. */
export const DEFAULT_USER_NET: UserNetConfig = {
  network: 0x0a00_0200,
  mask: prefixMask(24),
  gateway: 0x0a00_0202,
  dns: 0x0a00_0203,
  firstGuest: 0x0a00_020f,
  hostname: undefined,
  restrict: false,
  hostLoopback: false,
};

/** The gateway's MAC address: locally administered, with its IPv4 address in it. */
export function gatewayMac(gateway: number): Uint8Array {
  return Uint8Array.of(0x52, 0x55, gateway >>> 24, gateway >>> 16, gateway >>> 8, gateway);
}

export const isInSubnet = ({ network, mask }: UserNetConfig, address: number): boolean =>
  (address & mask) >>> 0 === network;

/** An address a guest may have. */
export function isGuestAddress(config: UserNetConfig, address: number): boolean {
  const { network, mask, gateway, dns } = config;
  if (!isInSubnet(config, address) || address === gateway || address === dns) return false;
  return address !== network && address !== (network | ~mask) >>> 0;
}
