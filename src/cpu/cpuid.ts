import { FEATURE_BITS } from './models.ts';

export interface CpuidResult {
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}
export interface CpuidOptions {
  readonly features: ReadonlySet<string>;
  /** Hz; leaves 0x15 and 0x16 state it so that a kernel need not calibrate. */
  readonly tscFrequency: number;
  readonly physicalBits: number;
  readonly cpus: number;
  readonly apicId: number;
  /** Answers instead of all this (lockstep with another emulator); undefined: no answer of its own. */
  readonly override?: (leaf: number, subleaf: number, state: CpuidState) => CpuidResult | undefined;
}
/** Live state that CPUID shows. */
export interface CpuidState {
  readonly cr4: bigint;
  readonly xcr0: bigint;
}
const FAMILY_MODEL_STEPPING = 0x000206d7; // family 6: the identity under which kernels take Intel's paths
const BRAND = 'ukl-emu virtual x86-64 processor';
const VENDOR = 'GenuineIntel';

const le32 = (text: string, at: number): number =>
  (text.charCodeAt(at) |
    (text.charCodeAt(at + 1) << 8) |
    (text.charCodeAt(at + 2) << 16) |
    (text.charCodeAt(at + 3) << 24)) >>>
  0;

/** Sizes and offsets of the XSAVE components offered (SDM vol. 1, 13.5): component -> [size, offset in the standard form]. */
export const XSAVE_COMPONENTS: Readonly<Record<number, readonly [number, number]>> = { 2: [256, 576], 9: [8, 2688] };
export const xcr0Allowed = (features: ReadonlySet<string>): bigint =>
  3n | (features.has('avx') ? 4n : 0n) | (features.has('pku') ? 0x200n : 0n);
const xsaveSize = (mask: bigint, compacted: boolean): number => {
  let size = 576;
  for (const [component, [bytes, offset]] of Object.entries(XSAVE_COMPONENTS)) {
    if (!(mask & (1n << BigInt(component)))) continue;
    size = compacted ? size + bytes : Math.max(size, offset + bytes);
  }
  return size;
};

const HIGHEST_BASIC = 0x16;
const HIGHEST_EXTENDED = 0x8000_0008;
/** Leaves that hypervisors define; those not offered read as zero. */
const HYPERVISOR = { first: 0x4000_0000, features: 0x4000_0001, timing: 0x4000_0010, last: 0x4fff_ffff } as const;
/** Whose paravirtual interface it is: KVM's for a guest that wants its clock, else nobody's whom guests know. */
const HYPERVISOR_NAME = { kvm: 'KVMKVMKVM\0\0\0', own: 'UklEmuUklEmu' } as const;
/** KVM's word for "the clock never goes back between processors" (Linux Documentation/virt/kvm/x86/cpuid.rst). */
const KVM_CLOCK_STABLE = 1 << 24;
/** A leaf beyond the highest of its range answers as the highest basic one (SDM vol. 2, CPUID). */
function effectiveLeaf(leaf: number): number {
  if (leaf >= HYPERVISOR.first && leaf <= HYPERVISOR.last) return leaf;
  const known = leaf <= HIGHEST_BASIC || (leaf >= 0x8000_0000 && leaf <= HIGHEST_EXTENDED);
  return known ? leaf : HIGHEST_BASIC;
}

/** CPUID (SDM vol. 2): exactly what is implemented. */
export function cpuid(requested: number, subleaf: number, options: CpuidOptions, state: CpuidState): CpuidResult {
  const override = options.override?.(requested, subleaf, state);
  if (override !== undefined) return override;
  const leaf = effectiveLeaf(requested);
  const { features } = options;
  const result: CpuidResult = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  for (const name of features) {
    const b = FEATURE_BITS[name];
    if (b && b.leaf === leaf && (b.subleaf ?? 0) === (leaf === 7 || leaf === 0xd ? subleaf : 0)) {
      result[b.register] = (result[b.register] | (1 << b.bit)) >>> 0;
    }
  }
  switch (leaf) {
    case 0:
      result.eax = HIGHEST_BASIC;
      result.ebx = le32(VENDOR, 0);
      result.edx = le32(VENDOR, 4);
      result.ecx = le32(VENDOR, 8);
      break;
    case 1:
      result.eax = FAMILY_MODEL_STEPPING;
      result.ebx = ((options.apicId << 24) | (options.cpus << 16) | (8 << 8)) >>> 0;
      if (state.cr4 & 0x4_0000n) result.ecx = (result.ecx | (1 << 27)) >>> 0;
      if (options.cpus > 1) result.edx = (result.edx | (1 << 28)) >>> 0;
      break;
    case 4: {
      // deterministic cache parameters: 32 KiB L1d and L1i, 1 MiB L2
      const caches = [
        [1, 1, 8, 64],
        [2, 1, 8, 64],
        [3, 2, 16, 1024],
      ] as const;
      const cache = caches[subleaf];
      if (cache) {
        const [type, level, ways, sets] = cache;
        result.eax = type | (level << 5) | (1 << 8);
        result.ebx = 63 | ((ways - 1) << 22);
        result.ecx = sets - 1;
      }
      break;
    }
    case 5:
      // bytes of a monitored line, smallest and largest; no extensions
      if (features.has('monitor')) result.eax = result.ebx = 64;
      break;
    case 6:
      result.eax = 4; // ARAT: the APIC timer never stops
      break;
    case 7:
      // OSPKE
      if (subleaf === 0 && state.cr4 & 0x40_0000n) result.ecx = (result.ecx | (1 << 4)) >>> 0;
      break;
    case 0xb:
      if (subleaf < 2) {
        result.eax = subleaf === 0 ? 0 : Math.ceil(Math.log2(Math.max(2, options.cpus)));
        result.ebx = subleaf === 0 ? 1 : options.cpus;
        result.ecx = subleaf | ((subleaf + 1) << 8);
      }
      result.edx = options.apicId;
      break;
    case 0xd:
      if (!features.has('xsave')) break;
      if (subleaf === 0) {
        const allowed = xcr0Allowed(features);
        result.eax = Number(allowed);
        result.ebx = xsaveSize(state.xcr0, false);
        result.ecx = xsaveSize(allowed, false);
      } else if (subleaf === 1) result.ebx = xsaveSize(state.xcr0, true);
      else if (xcr0Allowed(features) & (1n << BigInt(Math.min(subleaf, 63)))) {
        const component = XSAVE_COMPONENTS[subleaf];
        if (component) [result.eax, result.ebx] = component;
      }
      break;
    case 0x15:
      // TSC = crystal * ebx / eax, crystal = tscFrequency
      result.eax = 1;
      result.ebx = 1;
      result.ecx = options.tscFrequency;
      break;
    case 0x16:
      result.eax = result.ebx = Math.round(options.tscFrequency / 1e6);
      result.ecx = 100;
      break;
    case HYPERVISOR.first: {
      if (!features.has('hypervisor')) break;
      const name = features.has('kvmclock') ? HYPERVISOR_NAME.kvm : HYPERVISOR_NAME.own;
      result.eax = HYPERVISOR.timing;
      result.ebx = le32(name, 0);
      result.ecx = le32(name, 4);
      result.edx = le32(name, 8);
      break;
    }
    case HYPERVISOR.features:
      if (features.has('kvmclock')) result.eax |= KVM_CLOCK_STABLE;
      break;
    case HYPERVISOR.timing:
      // kHz of the time-stamp counter and of the local APIC's timer (VMware's leaf, which others took over)
      if (!features.has('hypervisor')) break;
      result.eax = result.ebx = Math.round(options.tscFrequency / 1e3);
      break;
    case 0x8000_0000:
      result.eax = HIGHEST_EXTENDED;
      break;
    case 0x8000_0002:
    case 0x8000_0003:
    case 0x8000_0004: {
      const text = BRAND.padEnd(48, '\0').slice((leaf - 0x8000_0002) * 16);
      result.eax = le32(text, 0);
      result.ebx = le32(text, 4);
      result.ecx = le32(text, 8);
      result.edx = le32(text, 12);
      break;
    }
    case 0x8000_0006:
      result.ecx = (1024 << 16) | (8 << 12) | 64;
      break;
    case 0x8000_0008:
      result.eax = options.physicalBits | ((features.has('la57') ? 57 : 48) << 8);
      break;
  }
  return result;
}
