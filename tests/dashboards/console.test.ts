/** The page in a real browser, served by a real gateway. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { mintToken } from '../../gateway/auth.ts'
import { serve, type RunningGateway } from '../../gateway/node.ts'
import { address } from '../../runtime/mod.ts'
import { modelOf, SPEC, startFleet, type Fleet } from '../gateway/fleet.ts'
import { has } from '../harness/parts.ts'
import { Chromium, type BrowserPage } from './chromium.ts'

let fleet: Fleet
let gateway: RunningGateway
let chromium: Chromium

beforeAll(async () => {
  if (!has('chromium')) return
  fleet = await startFleet()
  gateway = await serve(fleet.services, { port: 0 })
  chromium = await Chromium.start()
})

afterAll(async () => {
  await chromium?.[Symbol.asyncDispose]()
  await gateway?.stop()
  await fleet?.[Symbol.asyncDispose]()
})

// A browser has six connections to a host, and each page that is open holds one for its events.
afterEach(() => chromium?.closePages())

async function signedIn(): Promise<BrowserPage> {
  const token = await mintToken(fleet.secret, { subject: 'ada', role: 'user', lifeMs: 60_000, purpose: 'login' })
  const page = await chromium.open(`${gateway.url}/#token=${token}`)
  await expect.poll(() => page.text('#link')).toBe('Live')
  return page
}

async function addMetrics(id: string, steps: readonly number[]): Promise<void> {
  const line = (step: number): object => ({
    at: Date.now(),
    round: 0,
    replica: 0,
    step,
    steps: 100,
    loss: 2 / (1 + step),
    accuracy: 0.5,
    examplesPerS: 1_000,
    worker: 'w',
  })
  await fleet.client.append(`job:${id}:metrics`, steps.map(line) as never[]) // plain data, which JSON takes
}

const MEASURED = {
  loss: 0.3,
  accuracy: 0.75,
  examples: 4,
  byClass: [
    { name: 'setosa', examples: 2, precision: 0.67, recall: 1, f1: 0.8 },
    { name: 'virginica', examples: 2, precision: 1, recall: 0.5, f1: 0.67 },
  ],
  confusion: [
    [2, 0],
    [1, 1],
  ],
  report: { sha256: 'r'.repeat(64), sizeBytes: 1 },
}

function buttonsOf(page: BrowserPage): Promise<string[]> {
  return page.evaluate(
    `[...document.querySelectorAll('#job .head button')].filter((b) => !b.hidden).map((b) => b.textContent)`,
  )
}

function cellsOf(page: BrowserPage, table: string): Promise<string[][]> {
  return page.evaluate(
    `[...document.querySelectorAll('${table} tr')].map((row) => [...row.cells].map((cell) => cell.textContent))`,
  )
}

// A machine without Chromium cannot say how the page is; in CI that is a failure.
describe.skipIf(!has('chromium'))('the page in Chromium', () => {
  test('the address of the command line signs in and leaves no token behind', async () => {
    const page = await signedIn()

    expect(await page.evaluate('location.href')).toBe(`${gateway.url}/`)
    expect(await page.text('#who')).toBe('ada (user)')
    expect(await page.evaluate('document.cookie')).toBe('')
  })

  test('a job is seen live: its state, its curve and its log, without a reload', async () => {
    const page = await signedIn()
    const job = await fleet.submit()
    await fleet.project(job.id)
    await expect.poll(() => page.text('#job-title'), { timeout: 10_000 }).toBe('mnist')

    await addMetrics(job.id, [1, 2, 3])
    await expect.poll(() => page.text('.plot.loss output')).toBe('0.500')
    await addMetrics(job.id, [9])
    await expect.poll(() => page.text('.plot.loss output')).toBe('0.200')
    await fleet.request(`/v1/jobs/${job.id}/cancel`, { method: 'POST' })
    await expect.poll(() => page.text('#job .pill')).toBe('cancelled')

    expect(await page.evaluate(`document.querySelector('.plot.loss .line').getAttribute('d')`)).toMatch(/^M[\d. ]+L/)
  })

  test('what a job says is shown as text, never as markup', async () => {
    const job = await fleet.submit()
    await fleet.project(job.id)
    const message = '<img src=x onerror="document.title=1">'
    await fleet.client.append(`job:${job.id}:logs`, [{ at: 0, level: 'error', source: 'w', message }])

    const page = await signedIn()
    await page.evaluate(`location.hash = '#/jobs/${job.id}'`)
    await expect.poll(() => page.evaluate(`document.querySelector('.log li')?.textContent ?? ''`)).toContain(message)

    expect(await page.evaluate('document.querySelectorAll(".log img").length')).toBe(0)
    expect(await page.evaluate('document.title')).toBe('TensorFleet')
  })

  test('a job is paused, goes on and is cancelled by its buttons', async () => {
    const job = await fleet.submit({ ...SPEC, name: 'steered' })
    await fleet.project(job.id)
    const page = await signedIn()
    await page.evaluate(`location.hash = '#/jobs/${job.id}'`)
    await expect.poll(() => page.text('#job-title')).toBe('steered')
    const press = (label: string): Promise<void> =>
      page.evaluate(`[...document.querySelectorAll('#job button')].find((b) => b.textContent === '${label}').click()`)

    expect(await buttonsOf(page)).toEqual(['Pause', 'Cancel job'])
    await press('Pause')
    await expect.poll(() => page.text('#job .pill')).toBe('paused')
    expect(await buttonsOf(page)).toEqual(['Resume', 'Cancel job'])
    await press('Resume')
    await expect.poll(() => page.text('#job .pill')).not.toBe('paused')
    await expect.poll(() => buttonsOf(page)).toEqual(['Pause', 'Cancel job'])

    await page.evaluate('window.confirm = () => true')
    await press('Cancel job')
    await expect.poll(() => page.text('#job .pill')).toBe('cancelled')
    expect(await buttonsOf(page)).toEqual(['Try again'])
  })

  test('a job says how well its model does: measures of both splits, and who was taken for whom by name', async () => {
    const { id } = await fleet.submit({ ...SPEC, name: 'flowers' })
    await fleet.request(`/v1/jobs/${id}/cancel`, { method: 'POST' })
    await fleet.reached(id, 'cancelled')
    await fleet.project(id)
    const stored = await fleet.jobs.get(id)
    const measured = { evaluation: MEASURED, validation: { ...MEASURED, accuracy: 0.5 } }
    await fleet.jobs.put(`${id}-old`, { ...stored!.value, id: `${id}-old`, state: 'completed', ...measured })

    const page = await signedIn()
    await page.evaluate(`location.hash = '#/jobs/${id}-old'`)

    await expect
      .poll(() => cellsOf(page, '#job .measures'))
      .toEqual([
        ['Measured on', 'Test, 4 examples', 'Validation, 4 examples'],
        ['Accuracy', '75.00 %', '50.00 %'],
        ['Loss', '0.300', '0.300'],
      ])
    expect(await cellsOf(page, '#job .confusion')).toEqual([
      ['is ↓  taken for →', 'setosa', 'virginica'],
      ['setosa', '2', '0'],
      ['virginica', '1', '1'],
    ])
  })

  test('a model that is chosen says the same, and one of numbers how much it explains', async () => {
    const evaluation = { loss: 0.1, examples: 80, rmse: 2.5, r2: 0.93, report: MEASURED.report }
    await fleet.models.put('iris@3', modelOf('iris', 3, { evaluation: MEASURED }))
    await fleet.models.put('cars@2', modelOf('cars', 2, { evaluation }))

    const page = await signedIn()
    await expect.poll(() => page.text('#models')).toMatch(/cars\s+version 2\s+R² 0\.9300/)
    await page.evaluate(`[...document.querySelectorAll('#models a')].find((a) => a.textContent === 'iris').click()`)

    await expect.poll(() => page.text('#model-title')).toBe('iris version 3')
    await expect.poll(() => cellsOf(page, '#models .confusion')).toHaveLength(3)
  })

  test('models are listed with their accuracy and can be taken home', async () => {
    const weights = await fleet.blobs.put(new TextEncoder().encode('weights'))
    const evaluation = {
      loss: 0.03,
      accuracy: 0.9894,
      examples: 10_000,
      report: { sha256: 'r'.repeat(64), sizeBytes: 1 },
    }
    await fleet.models.put('mnist@7', modelOf('mnist', 7, { weights, evaluation }))

    const page = await signedIn()

    await expect.poll(() => page.text('#models')).toMatch(/mnist\s+version 7\s+98\.94 %/)
    const fetched = await page.evaluate(`fetch(document.querySelector('.downloads a').href).then((r) => r.text())`)
    expect(fetched).toBe('weights')
  })

  test('a sweep is listed, and when it is chosen its trials are, the best one first', async () => {
    const sweep = { kind: 'sweep', name: 'rates', job: SPEC, parameters: { 'train.optimizer.learningRate': [0.5, 0.25] }, metric: 'accuracy', parallelism: 2 } // prettier-ignore
    const init = { method: 'POST', body: JSON.stringify(sweep), headers: { 'content-type': 'application/json' } }
    const { id } = (await (await fleet.request('/v1/sweeps', init)).json()) as { id: string }
    const report = { type: 'trial.reported', trial: 1, isPaused: false, round: 2, step: 8, steps: 16, value: 0.75 }
    await fleet.client.ask(address('sweep', id), report)
    await fleet.project(id, 'sweep')

    const page = await signedIn()
    await expect.poll(() => page.text('#sweeps')).toMatch(/rates\s+ada · [\w-]+\s+running.*0 of 2.*8 of 32/s)
    await page.evaluate(`document.querySelector('#sweeps a').click()`)

    await expect.poll(() => page.text('#sweep-title')).toBe('rates: the best of 2 trials, by accuracy')
    const rows = `[...document.querySelectorAll('.board tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))`
    const found = await page.evaluate<string[][]>(rows)
    expect(found.map((cells) => cells.slice(0, 4))).toEqual([
      ['1', 'running', '75.00 %', '2'],
      ['0', 'running', '–', '0'],
    ])
    expect(new Set(found.map((cells) => cells[4]))).toEqual(new Set(['0.5', '0.25']))
  })

  test('a batch job is listed, and paused and resumed by its buttons', async () => {
    const spec = { kind: 'evaluate', model: 'cat@champion', dataset: { name: 'pets' } }
    const init = { method: 'POST', body: JSON.stringify(spec), headers: { 'content-type': 'application/json' } }
    const { id } = (await (await fleet.request('/v1/batches', init)).json()) as { id: string }
    await fleet.project(id, 'batch')

    const page = await signedIn()
    await expect.poll(() => page.text('#batches'), { timeout: 10_000 }).toMatch(/cat-evaluate\s*evaluate · ada · \w+/)
    const press = async (word: string): Promise<void> => {
      await expect.poll(() => page.text('#batches tbody'), { timeout: 10_000 }).toContain(word)
      await page.evaluate(
        `[...document.querySelectorAll('#batches button')].find((button) => button.textContent === '${word}').click()`,
      )
    }
    const state = async (): Promise<unknown> => (await fleet.client.read(address('batch', id)))?.value
    await press('Pause')
    await expect.poll(state, { timeout: 10_000 }).toBe('paused')
    await fleet.project(id, 'batch')
    await press('Resume')
    await expect.poll(state, { timeout: 10_000 }).not.toBe('paused')
  })

  test('without a session the page asks for a token, takes one, and signs out', async () => {
    await chromium.send('Storage.clearCookies')
    const page = await chromium.open(`${gateway.url}/`)
    const asked = (): Promise<boolean> => page.evaluate(`document.getElementById('sign-in')?.hidden === false`)
    await expect.poll(asked).toBe(true)
    const enter = (token: string): Promise<void> =>
      page.evaluate(
        `document.getElementById('token').value = '${token}'; document.querySelector('form button').click()`,
      )

    await enter('nonsense')
    await expect.poll(() => page.text('#sign-in-error')).toContain('not one of this fleet')
    await enter(await fleet.token('viewer', 'eve'))
    await expect.poll(() => page.text('#who')).toBe('eve (viewer)')
    await expect.poll(() => page.text('#job-title')).not.toBe('')
    expect(await buttonsOf(page)).toEqual([])
    await page.evaluate(`document.getElementById('sign-out').click()`)

    await expect.poll(asked).toBe(true)
  })

  test('the page keeps to its own content policy and throws nothing', () => {
    const complaints = chromium.complaints.filter((complaint) => !complaint.includes('401 (Unauthorized)'))

    expect(complaints).toEqual([])
  })
})
