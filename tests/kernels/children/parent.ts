/** A worker that starts a kernel process, tells its id, and waits to be killed. */
import { KernelProcess } from '../../../kernels/mod.ts'

const [cacheDir = '', scratchDir = ''] = process.argv.slice(2)
const kernel = new KernelProcess({ backend: 'cpu', cacheDir, scratchDir })
process.send?.((await kernel.start()).pid)
