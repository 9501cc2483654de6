/** `/v1/models`: the registry, downloads, and predictions. */
import { z } from 'zod'
import type { ModelVersionView } from '../../machines/views.ts'
import { pathParam, queryOf, type Api, type Context } from '../api.ts'
import { checkBody, JSON_TYPES, readBody } from '../body.ts'
import { download } from '../download.ts'
import { LIMITS } from '../limits.ts'
import { asItIs, pageFrom, pageQuery, versionsOf } from '../listing.ts'
import { modelAt, unknownModel } from '../model-access.ts'
import { GatewayError } from '../problems.ts'
import { modelVersionSchema, pageOf } from '../schemas/views.ts'
import type { Predictions, Services } from '../services.ts'

const FILES = {
  weights: { mediaType: 'application/octet-stream', suffix: '.safetensors' },
  topology: { mediaType: 'application/json', suffix: '.json' },
} as const

const EXPORTS = [
  [
    'tfjs',
    'The model as TensorFlow.js loads it: `model.json` (give its address to `tf.loadLayersModel`), `weights.bin`, and `predict.js` (with `predict.d.ts`), whose `predict(tf, model, examples)` prepares examples as in training.',
  ],
  [
    'keras',
    'The model for Keras of Python: `model.json`, `model.safetensors`, and `load.py`, which makes one of them.',
  ],
] as const

const downloadQuery = z.strictObject({ file: z.enum(['weights', 'topology']).default('weights') })

const predictBody = z
  .strictObject({
    inputs: z
      .array(z.unknown())
      .min(1)
      .max(LIMITS.predictRowsMax)
      .describe('Examples: objects that name the columns, or lists in the order of the model’s features.'),
  })
  .meta({ id: 'PredictRequest' })

const predictAnswer = z
  .object({
    model: z.object({ name: z.string(), version: z.int() }),
    outputs: z.array(z.array(z.number())),
    classes: z
      .array(z.union([z.int(), z.string()]))
      .exactOptional()
      .describe('The likeliest class of each example.'),
  })
  .meta({ id: 'Predictions' })

export function modelRoutes(api: Api, services: Services): void {
  const { models } = services
  const listed = async (c: Context, name?: string): Promise<Response> => {
    const page = queryOf(c, pageQuery)
    const found = await pageFrom(models, { ...versionsOf(name), page, show: asItIs<ModelVersionView> })
    if (name !== undefined && page.cursor === undefined && found.items.length === 0) throw unknownModel(name)
    return c.json(found)
  }

  api.on(
    {
      method: 'get',
      path: '/v1/models',
      tag: 'models',
      summary: 'Versions of all models, newest first.',
      access: 'viewer',
      query: pageQuery,
      answers: { 200: { description: 'A page of versions.', content: pageOf(modelVersionSchema) } },
    },
    (c) => listed(c),
  )

  api.on(
    {
      method: 'get',
      path: '/v1/models/:name',
      tag: 'models',
      summary: 'The versions of a model, newest first.',
      access: 'viewer',
      query: pageQuery,
      answers: { 200: { description: 'A page of versions.', content: pageOf(modelVersionSchema) } },
    },
    (c) => listed(c, pathParam(c, 'name')),
  )

  api.on(
    {
      method: 'get',
      path: '/v1/models/:name/versions/:version',
      tag: 'models',
      summary: 'One version of a model, by its number, by `latest`, or by an alias.',
      access: 'viewer',
      answers: { 200: { description: 'The version.', content: modelVersionSchema } },
    },
    async (c) => c.json(await modelAt(c, services)),
  )

  api.on(
    {
      method: 'get',
      path: '/v1/models/:name/versions/:version/download',
      tag: 'models',
      summary: 'The weights (safetensors) or the topology (Keras-style JSON) of a model.',
      access: 'viewer',
      deadline: 'none',
      query: downloadQuery,
      headers: { 'If-None-Match': "The file's sha256, as its ETag says it." },
      answers: {
        200: {
          description: 'The file. Its ETag is its sha256.',
          content: { 'application/octet-stream': 'binary', 'application/json': z.record(z.string(), z.unknown()) },
        },
        304: { description: 'You have it.' },
      },
    },
    async (c) => {
      const { file } = queryOf(c, downloadQuery)
      const model = await modelAt(c, services)
      const { mediaType, suffix } = FILES[file]
      const filename = `${model.name}-v${model.version}${suffix}`
      return download(c, services, { blob: model[file], mediaType, filename })
    },
  )

  for (const [format, summary] of EXPORTS) {
    api.on(
      {
        method: 'get',
        path: `/v1/models/:name/versions/:version/${format}/:file`,
        tag: 'models',
        summary,
        access: 'viewer',
        deadline: 'none',
        answers: {
          200: {
            description: 'The file.',
            content: { 'application/json': z.record(z.string(), z.unknown()), 'application/octet-stream': 'binary' },
          },
        },
      },
      async (c) => {
        const files = await services.exportModel(await modelAt(c, services), format)
        const asked = pathParam(c, 'file')
        const file = files.find(({ name }) => name === asked)
        if (file !== undefined) return c.body(file.bytes, 200, { 'Content-Type': file.mediaType })
        const names = files.map(({ name }) => name).join(', ')
        throw new GatewayError('resource.unknown', `There is no file ${JSON.stringify(asked.slice(0, 40))}: expected one of ${names}`) // prettier-ignore
      },
    )
  }

  api.on(
    {
      method: 'post',
      path: '/v1/models/:name/versions/:version/predict',
      tag: 'models',
      summary: 'What a model says of examples.',
      access: 'user',
      body: { schema: predictBody, types: JSON_TYPES },
      answers: { 200: { description: 'An output for each example.', content: predictAnswer } },
    },
    async (c) => {
      const model = await modelAt(c, services)
      const body = await readBody(c, JSON_TYPES, LIMITS.predictBytesMax)
      const { inputs } = checkBody(predictBody, body, 'request.invalid')
      const { problems: errors, ...rows } = services.examples(inputs, model.features)
      if (errors.length > 0) {
        throw new GatewayError('request.invalid', `The inputs do not fit the model: ${errors[0]?.message}`, { errors })
      }
      const predictions = await services.predict(model, rows, c.get('signal'))
      const { classes } = predictions
      return c.json({
        model: { name: model.name, version: model.version },
        outputs: outputsOf(predictions),
        ...(classes !== undefined && { classes }),
      })
    },
  )
}

/** One list of numbers for each row. */
function outputsOf({ rows, values }: Predictions): number[][] {
  const size = values.length / rows
  return Array.from({ length: rows }, (_, row) => [...values.subarray(row * size, (row + 1) * size)])
}
