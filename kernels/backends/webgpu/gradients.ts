import type { Tf } from '../../tfjs.ts'
export function registerMissingKernels(_tf: Tf): void {}
