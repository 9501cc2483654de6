/**
 * `/v1/datasets`: versions of data, made of files and never changed. A request that makes one either ends with a whole
 * version or with nothing: its files are received into a folder that goes with the request.
 */
import { z } from 'zod'
import type { DatasetView } from '../../machines/views.ts'
import { pathParam, principalOf, queryOf, type Api, type Context } from '../api.ts'
import { mayAct, type Principal } from '../auth.ts'
import { checkBody, JSON_TYPES, readBody } from '../body.ts'
import { EventChannel } from '../event-channel.ts'
import { LIMITS } from '../limits.ts'
import { asItIs, pageFrom, pageQuery, versionsOf } from '../listing.ts'
import { readForm } from '../multipart.ts'
import { GatewayError, problemOf } from '../problems.ts'
import { datasetBody, datasetDetailSchema, datasetForm, datasetName, datasetSchema, ingestOptionsSchema, rowsQuery, rowsSchema } from '../schemas/datasets.ts' // prettier-ignore
import { pageOf } from '../schemas/views.ts'
import type { DatasetUpload, IngestProgress, Services, Settings } from '../services.ts'

const SPLITS = ['train', 'validation', 'test'] as const

export function datasetRoutes(api: Api, services: Services, settings: Settings): void {
  const { datasets } = services
  const listed = async (c: Context, name?: string): Promise<Response> => {
    const page = queryOf(c, pageQuery)
    if (name !== undefined) await datasets.resolve({ name }) // an unknown name is an error and not an empty list
    return c.json(await pageFrom(datasets, { ...versionsOf(name), page, show: asItIs<DatasetView> }))
  }

  api.on(
    {
      method: 'post',
      path: '/v1/datasets',
      tag: 'datasets',
      summary:
        'Make a version of files: a form (fields name, options, and files), or JSON that names files of the object ' +
        'store. With Accept: text/event-stream it tells its progress, then `done` or `problem`.',
      access: 'user',
      deadline: 'none',
      body: { schema: z.union([datasetForm, datasetBody]), types: ['multipart/form-data', ...JSON_TYPES] },
      answers: {
        200: { description: 'This content is a version of this name already.', content: datasetSchema },
        201: {
          description: 'The new version.',
          content: { 'application/json': datasetSchema, 'text/event-stream': 'text' },
        },
      },
    },
    (c) => add(c, services, settings),
  )

  api.on(
    {
      method: 'get',
      path: '/v1/datasets',
      tag: 'datasets',
      summary: 'Versions of all datasets, newest first. What comes with a package shows up once it was used.',
      access: 'viewer',
      query: pageQuery,
      answers: { 200: { description: 'A page of versions.', content: pageOf(datasetSchema) } },
    },
    (c) => listed(c),
  )

  api.on(
    {
      method: 'get',
      path: '/v1/datasets/:name',
      tag: 'datasets',
      summary: 'The versions of a dataset, newest first.',
      access: 'viewer',
      query: pageQuery,
      answers: { 200: { description: 'A page of versions.', content: pageOf(datasetSchema) } },
    },
    (c) => listed(c, pathParam(c, 'name')),
  )

  api.on(
    {
      method: 'get',
      path: '/v1/datasets/:name/versions/:version',
      tag: 'datasets',
      summary: 'One version with its columns, splits and statistics; `latest` is the newest.',
      access: 'viewer',
      answers: { 200: { description: 'The version.', content: datasetDetailSchema } },
    },
    async (c) => c.json(await datasets.detail(refOf(c))),
  )

  api.on(
    {
      method: 'get',
      path: '/v1/datasets/:name/versions/:version/rows',
      tag: 'datasets',
      summary: 'Some rows of a version, as they are stored.',
      access: 'viewer',
      query: rowsQuery,
      answers: { 200: { description: 'The rows.', content: rowsSchema } },
    },
    async (c) => c.json(await datasets.rows(refOf(c), queryOf(c, rowsQuery))),
  )

  api.on(
    {
      method: 'delete',
      path: '/v1/datasets/:name/versions/:version',
      tag: 'datasets',
      summary: 'Remove a version that no job under way and no model rests on.',
      access: 'user',
      answers: { 204: { description: 'It is gone. Its number is not given out again.' } },
    },
    async (c) => {
      const { name, version } = await datasets.resolve(refOf(c))
      await requireOwner(services, principalOf(c), name)
      await datasets.remove(name, version)
      return c.body(null, 204)
    },
  )
}

async function add(c: Context, services: Services, settings: Settings): Promise<Response> {
  const { datasets } = services
  const principal = principalOf(c)
  const type = (c.req.header('content-type') ?? '').split(';')[0]?.trim().toLowerCase()
  await using held = new AsyncDisposableStack()
  const upload = held.use(await datasets.receive({ sizeMaxBytes: LIMITS.uploadBytesMax, signal: c.req.raw.signal }))
  const isForm = type === 'multipart/form-data'
  const { name, options } = isForm ? await receiveForm(c, upload) : await receiveJson(c, upload)
  if (upload.files.length === 0) throw invalid('files', 'at least one file', 'none')
  if (datasets.isBuiltIn(name)) throw invalid('name', 'a name that no built-in dataset has', name)
  await requireOwner(services, principal, name)
  const version = { name, owner: principal.subject, files: upload.files, options }
  if (c.req.header('accept')?.includes('text/event-stream') !== true) {
    const { dataset, isNew } = await datasets.add(version, { signal: c.req.raw.signal })
    return c.json(dataset, isNew ? 201 : 200)
  }
  const channel = new EventChannel({
    signals: [c.req.raw.signal, settings.stopping],
    heartbeatMs: settings.heartbeatMs ?? LIMITS.heartbeatMs,
    stallMs: settings.eventStallMs ?? LIMITS.eventStallMs,
  })
  const files = held.move()
  const onProgress = (data: IngestProgress): void => void channel.send(() => ({ event: 'progress', data }))
  const working = datasets.add(version, { signal: channel.signal, onProgress })
  void tellEnd(channel, working, files, services)
  return channel.response()
}

async function tellEnd(
  channel: EventChannel,
  working: Promise<object>,
  files: AsyncDisposable,
  services: Services,
): Promise<void> {
  try {
    const data = await working
    await channel.send(() => ({ event: 'done', data }))
  } catch (error) {
    const { problem, unforeseen } = problemOf(error)
    if (unforeseen && !channel.signal.aborted) services.trouble('adding a dataset', error)
    await channel.send(() => ({ event: 'problem', data: problem }))
  } finally {
    channel.close()
    await files[Symbol.asyncDispose]()
  }
}

type Wishes = Pick<z.infer<typeof datasetBody>, 'name' | 'options'>

async function receiveForm(c: Context, upload: DatasetUpload): Promise<Wishes> {
  const fields = await readForm(c.req.raw, ({ field, name, bytes }) => {
    const split = SPLITS.find((each) => each === field)
    if (split === undefined && field !== 'file') {
      throw invalid(field, 'files in the fields file, train, validation and test', field)
    }
    return upload.take({ name: name === '' ? field : name.slice(0, 255), ...(split !== undefined && { split }) }, bytes)
  })
  const text = fields.get('options') ?? '{}'
  let options: unknown
  try {
    options = JSON.parse(text)
  } catch (cause) {
    throw new GatewayError('body.malformed', `Cannot read the field options as JSON: ${String(cause)}`, { cause })
  }
  const form = z.strictObject({ name: datasetName, options: ingestOptionsSchema })
  return checkBody(form, { name: fields.get('name'), options }, 'request.invalid')
}

async function receiveJson(c: Context, upload: DatasetUpload): Promise<Wishes> {
  const body = await readBody(c, [...JSON_TYPES, 'multipart/form-data'], LIMITS.specBytesMax)
  const { files, ...wishes } = checkBody(datasetBody, body, 'request.invalid')
  for (const { url, ...file } of files) await upload.takeFrom(url, file)
  return wishes
}

/** Whose the first version is, theirs are all. */
async function requireOwner({ datasets }: Services, principal: Principal, name: string): Promise<void> {
  const page = await datasets.find({ where: { name }, order: { by: 'version' }, limit: 1 })
  const owner: DatasetView['owner'] | undefined = page.items[0]?.value.owner
  if (owner === undefined || owner === principal.subject || mayAct(principal.role, 'admin')) return
  throw new GatewayError('auth.forbidden', `Dataset ${name} belongs to ${owner}: only they and admins may change it`)
}

function refOf(c: Context): { name: string; version?: number } {
  const name = pathParam(c, 'name')
  const text = pathParam(c, 'version')
  if (text === 'latest') return { name }
  if (/^[1-9]\d{0,8}$/.test(text)) return { name, version: Number(text) }
  throw new GatewayError('resource.unknown', `There is no version ${JSON.stringify(text.slice(0, 20))} of ${JSON.stringify(name.slice(0, 100))}`) // prettier-ignore
}

function invalid(path: string, expected: string, found: string): GatewayError {
  const message = `${path}: expected ${expected}, found ${found}`
  return new GatewayError('request.invalid', message, { errors: [{ path, expected, found, message }] })
}
