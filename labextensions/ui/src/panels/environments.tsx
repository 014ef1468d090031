/** Environments: list, start, one in detail. */
import { useState } from 'react';

import { STEADY, useChange, useList, useMe, useOne, usePlace } from '../context';
import { price } from '../format';
import { useWords, type Words } from '../i18n';
import { Actions, Button, Link, type Action } from '../parts/buttons';
import { useBulk } from '../parts/bulk';
import { useConfirm } from '../parts/dialog';
import { FormProblem, problemOf, TextField } from '../parts/form';
import { Page, Tabs } from '../parts/layout';
import { Empty, Loaded } from '../parts/states';
import { DataTable, useTableState, type Column } from '../parts/table';
import { useNotify, useSentence } from '../parts/toast';
import { Age, Facts, isFinal, isMoving, Moment, State, Took } from '../parts/values';
import type { Environment, List } from '../types';
import { Effect, NOWHERE, resolve, RunPlace, useProfiles, useTitles, type Place2Run } from './catalog';
import { Events } from './events';
import { Monitor } from './monitor';

const every = (data: unknown): number => ((data as List<Environment> | undefined)?.items.some(one => isMoving(one.phase)) ? 1500 : STEADY);

export const useEnvironments = (params: Record<string, string | number>) => useList<Environment>('environments', 'environments', { params, every });

export function environmentTitle(one: Environment, words: Words): string {
  const said = one.display_name || one.name;
  return said === 'default' || !said ? words.t('environment.default') : said;
}

/** Open, stop, start, delete: what is possible in the state it is in. */
export function useEnvironmentActions(): (one: Environment) => Action[] {
  const words = useWords();
  const { t } = words;
  const place = usePlace();
  const confirm = useConfirm();
  const notify = useNotify();
  const sentence = useSentence();
  const act = useChange((client, { id, verb }: { id: string | number; verb: 'start' | 'stop' }) => client.send('POST', 'environments', `environments/${id}/${verb}`), 'environments', 'monitor');
  const remove = useChange((client, id: string | number) => client.send('DELETE', 'environments', `environments/${id}`), 'environments', 'monitor');
  const onError = (error: unknown): void => notify(sentence(error), 'bad');
  return one => {
    const name = environmentTitle(one, words);
    const stop = async (): Promise<void> => {
      const yes = await confirm({ title: t('environment.stopTitle', { name }), text: t('environment.stopText', { user: one.user }), verb: t('action.stop') });
      if (yes) act.mutate({ id: one.id, verb: 'stop' }, { onError, onSuccess: () => notify(t('environment.stopped', { name })) });
    };
    const drop = async (): Promise<void> => {
      const yes = await confirm({ title: t('environment.deleteTitle', { name }), text: t('environment.deleteText'), verb: t('action.delete'), danger: true });
      if (yes) remove.mutate(one.id, { onError, onSuccess: () => notify(t('environment.deleted', { name })) });
    };
    const deletion: Action = { label: t('action.delete'), run: () => void drop(), danger: true };
    if (isFinal(one.phase)) return [{ label: t('action.start'), run: () => act.mutate({ id: one.id, verb: 'start' }, { onError }) }, deletion];
    const stopping: Action = { label: one.phase === 'queued' ? t('action.cancel') : t('action.stop'), run: () => void stop(), disabled: one.phase === 'stopping' };
    return one.phase === 'running' ? [{ label: t('action.open'), run: () => place.visit(one.url) }, stopping] : [stopping];
  };
}

export function EnvironmentsPage(): JSX.Element {
  const { t } = useWords();
  const place = usePlace();
  return (
    <Page title={t('environment.many')} note={t('environment.about')} actions={<Button kind="primary" onClick={() => place.open('/environments/new')}>{t('environment.new')}</Button>}>
      <EnvironmentTable who="me" />
    </Page>
  );
}

export function EnvironmentTable({ who, tenant = '' }: { who: 'me' | 'all'; tenant?: string }): JSX.Element {
  const words = useWords();
  const { t } = words;
  const place = usePlace();
  const state = useTableState();
  const titles = useTitles();
  const query = useEnvironments({ ...state.params, user: who, tenant });
  const actions = useEnvironmentActions();
  const bulk = useBulk<Environment>('environments', 'monitor');
  const bulkActions = (rows: Environment[]): Action[] => {
    const nameOf = (one: Environment): string => (who === 'all' ? `${one.user}: ` : '') + environmentTitle(one, words);
    return [
      bulk({ label: t('action.stop'), text: t('class.stopAllText'), nameOf, danger: true, rows: rows.filter(one => !isFinal(one.phase)), run: (client, one) => client.send('POST', 'environments', `environments/${one.id}/stop`) }),
      bulk({ label: t('action.delete'), text: t('environment.deleteText'), nameOf, danger: true, rows: rows.filter(one => isFinal(one.phase)), run: (client, one) => client.send('DELETE', 'environments', `environments/${one.id}`) })
    ];
  };
  const columns: Column<Environment>[] = [
    { id: 'name', title: t('field.name'), grow: true, by: one => one.display_name || one.name, cell: one => <Link to={`/environments/${one.id}`}>{environmentTitle(one, words)}</Link> },
    ...(who === 'all' ? [{ id: 'user', title: t('field.user'), by: (one: Environment) => one.user, cell: (one: Environment) => one.user }] : []),
    { id: 'phase', title: t('field.state'), by: one => one.phase, cell: one => <State phase={one.phase} reason={one.reason} position={one.queue_position} /> },
    { id: 'profile', title: t('profile.title'), by: one => one.profile, cell: one => one.profile, extra: true },
    { id: 'image', title: t('image.title'), by: one => one.image, cell: one => titles.image(one.image) },
    { id: 'flavor', title: t('flavor.title'), by: one => one.flavor, cell: one => titles.flavor(one.flavor) },
    { id: 'tenant', title: t('tenant.title'), by: one => one.tenant, cell: one => one.tenant, extra: who !== 'all' },
    { id: 'price', title: t('field.price'), right: true, by: one => one.price_micro_per_hour, cell: one => price(one.price_micro_per_hour, one.currency ?? '', words) },
    { id: 'started', title: t('field.since'), right: true, by: one => one.started_at, cell: one => <Age at={one.started_at ?? one.created_at} /> }
  ];
  return (
    <DataTable
      name={`environments-${who}`}
      label={t('environment.many')}
      query={query}
      state={state}
      columns={columns}
      keyOf={one => String(one.id)}
      actions={actions}
      bulk={bulkActions}
      empty={
        <Empty text={t('environment.empty')}>
          <Button kind="primary" onClick={() => place.open('/environments/new')}>
            {t('environment.new')}
          </Button>
        </Empty>
      }
    />
  );
}

export function NewEnvironmentPage(): JSX.Element {
  const words = useWords();
  const { t } = words;
  const place = usePlace();
  const notify = useNotify();
  const me = useMe().data;
  const [where, setWhere] = useState<Place2Run>(NOWHERE);
  const mine = useEnvironments({ user: 'me', limit: 200 });
  const taken = mine.data?.items.some(one => one.name === 'default' || one.name === '') ?? false;
  const [typed, setTyped] = useState<string | null>(null);
  const name = typed ?? '';
  const profiles = useProfiles(where.tenant || me?.default_tenant || '').data?.items ?? [];
  const choice = where.profile || !profiles.length ? where : { ...where, profile: profiles[0].name };
  const { flavor } = resolve(choice, profiles);
  const start = useChange(
    (client, body: object) => client.send<Environment>('POST', 'environments', 'environments', body),
    'environments'
  );
  const onSubmit = (event: React.FormEvent): void => {
    event.preventDefault();
    const body = { name: name.trim() || 'default', profile: choice.profile, image: choice.image || undefined, flavor: choice.flavor || undefined, tenant: choice.tenant || me?.default_tenant };
    start.mutate(body, {
      onSuccess: made => {
        notify(t('environment.starting', { name: environmentTitle(made, words) }));
        place.open(`/environments/${made.id}`);
      }
    });
  };
  return (
    <Page title={t('environment.new')}>
      <form className="lt-form" onSubmit={onSubmit}>
        {mine.data !== undefined && (
          <TextField
            label={t('field.name')}
            value={name}
            onChange={setTyped}
            placeholder={taken ? '' : t('environment.default')}
            required={taken}
            hint={taken ? t('environment.nameNeeded') : t('environment.nameHint')}
            problem={problemOf(start.error, 'name')}
          />
        )}
        <RunPlace value={choice} onChange={setWhere} />
        <FormProblem error={start.error} fields={['name']} />
        <div className="lt-form-foot">
          <Effect flavor={flavor} />
          <Button kind="primary" submit busy={start.isPending} disabled={!choice.profile && !choice.image}>
            {t('action.start')}
          </Button>
        </div>
      </form>
    </Page>
  );
}

export function EnvironmentPage({ id }: { id: string }): JSX.Element {
  const words = useWords();
  const { t } = words;
  const titles = useTitles();
  const actions = useEnvironmentActions();
  const query = useOne<Environment>('environments', `environments/${id}`, { every: data => (isMoving((data as Environment | undefined)?.phase ?? '') ? 1500 : 5000) });
  return (
    <Loaded query={query}>
      {one => (
        <Page
          title={environmentTitle(one, words)}
          state={<State phase={one.phase} position={one.queue_position} />}
          actions={<Actions actions={actions(one)} shown={2} label={t('action.more')} />}
          note={one.reason}
        >
          <Facts
            facts={[
              [t('flavor.title'), titles.flavor(one.flavor)],
              [t('image.title'), titles.image(one.image)],
              [t('field.price'), price(one.price_micro_per_hour, one.currency ?? '', words)],
              [t('field.runningFor'), one.started_at ? <Took key="took" from={one.started_at} to={one.ended_at} /> : null]
            ]}
          />
          <Tabs
            tabs={[
              { id: 'monitor', title: t('tab.monitor'), show: () => <Monitor kind="environment" id={one.id} running={one.phase === 'running'} /> },
              {
                id: 'overview',
                title: t('tab.overview'),
                show: () => (
                  <Facts
                    facts={[
                      [t('field.user'), one.user],
                      [t('tenant.title'), one.tenant],
                      [t('profile.title'), one.profile],
                      [t('field.created'), <Moment key="created" at={one.created_at} />],
                      [t('field.started'), <Moment key="started" at={one.started_at} />],
                      [t('field.ended'), <Moment key="ended" at={one.ended_at} />]
                    ]}
                  />
                )
              },
              { id: 'events', title: t('tab.events'), show: () => <Events service="tenancy" path="events" params={{ tenant: one.tenant, noun: 'environment', id: one.id }} /> }
            ]}
          />
        </Page>
      )}
    </Loaded>
  );
}
