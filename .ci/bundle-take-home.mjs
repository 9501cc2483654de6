/**
 * Bundles what goes home with a model: `kernels/take-home.ts` and all that it imports become
 * `kernels/take-home.generated.js`, one file without imports or types. With `--check` it changes nothing and fails when
 * the file is not what the sources make.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const HEAD = `/**
 * Examples in, predictions out, prepared as in training. Made by TensorFleet for the model in this folder:
 *
 *     import { predict } from './predict.js'
 *     const model = await tf.loadLayersModel('.../model.json')
 *     const { outputs, classes } = await predict(tf, model, [{ column: value, ... }])
 */
`

const [source, target] = ['take-home.ts', 'take-home.generated.js'].map((name) =>
  fileURLToPath(new URL(`../kernels/${name}`, import.meta.url)),
)
const bundle = await rolldown({ input: source, platform: 'neutral', treeshake: { moduleSideEffects: false } })
const { output } = await bundle.generate({ format: 'esm', comments: false })
if (output.length !== 1 || output[0].imports.length > 0) throw new Error('The bundle is not one file by itself')
const code = HEAD + output[0].code
if (!process.argv.includes('--check')) writeFileSync(target, code)
else if (readFileSync(target, 'utf8') !== code) {
  console.error('kernels/take-home.generated.js is not what its sources make: run "npm run bundle"')
  process.exitCode = 1
}
