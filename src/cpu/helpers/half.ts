/** Conversions to and from binary16 (SDM vol. 1, 14.4.1). */
import { ZERO } from '../../wasm/builder.ts';
import { type I64, i32, i64 } from '../../wasm/expr.ts';
import type { HelperDefinition } from './definition.ts';
import {
  CONTROL,
  c32,
  c64,
  cell32,
  FLAG,
  type Format,
  HALF,
  isDenormal,
  isInfinite,
  isNan,
  isSignaling,
  N0,
  raiseFlags,
  SINGLE,
  SOFT,
  setResult,
  signed,
  signOf,
  unpack,
} from './float-core.ts';

const moved = (value: I64, by: number): I64 => (by < 0 ? i64.shl(value, c64(-by)) : i64.shrU(value, c64(by)));

/** (bits) -> bits; flags into SOFT.flags. A denormal binary16 is never reported, nor taken as zero. */
const conversion = (name: string, from: Format, to: Format, pack: string): HelperDefinition => ({
  name,
  params: ['i64'],
  results: ['i64'],
  build(f, h) {
    const v = f.param('i64', 0);
    const sign = f.let(signed(to, signOf(from, v)));
    f.if(isNan(from, v), () => {
      f.if(isSignaling(from, v), () => raiseFlags(f, FLAG.invalid));
      const fraction = i64.and(v, c64((1n << BigInt(from.precision - 1)) - 1n));
      f.return(i64.or(i64.or(sign, c64(to.infinity | to.quiet)), moved(fraction, from.precision - to.precision)));
    });
    f.if(isInfinite(from, v), () => f.return(i64.or(sign, c64(to.infinity))));
    if (from !== HALF)
      f.if(isDenormal(from, v), () => {
        f.if(i32.and(cell32(SOFT.control), c32(CONTROL.daz)), () => f.return(sign));
        raiseFlags(f, FLAG.denormal);
      });
    const parts = unpack(f, from, v);
    setResult(f, parts.sign, parts.exponent, parts.mantissa, N0);
    f.result(f.call('i64', h(pack), []));
  },
});
/** (immediate of VCVTPS2PH): rounding as it says, denormal results as they are. */
const chooseRounding: HelperDefinition = {
  name: 'chooseHalfRounding',
  params: ['i32'],
  results: [],
  build(f) {
    const immediate = f.param('i32', 0);
    const control = f.let(cell32(SOFT.control));
    const own = i32.shl(i32.and(immediate, c32(3)), c32(13));
    const rounding = i32.select(i32.and(immediate, c32(4)), i32.and(control, c32(CONTROL.rc)), own);
    f.store32(ZERO, i32.or(i32.and(control, c32(~(CONTROL.rc | CONTROL.ftz))), rounding), SOFT.control);
  },
};

export const HALF_HELPERS: readonly HelperDefinition[] = [
  conversion('halfToSingle', HALF, SINGLE, 'pack32'),
  conversion('singleToHalf', SINGLE, HALF, 'pack16'),
  chooseRounding,
];
