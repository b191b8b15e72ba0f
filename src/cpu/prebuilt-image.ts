import type { PrebuiltImage } from './prebuilt-types.ts';

/** What scripts/prebuild.ts has made of the sources; it takes this module's place in the package. From the sources: none. */
export const PREBUILT_IMAGE: PrebuiltImage | undefined = undefined;
