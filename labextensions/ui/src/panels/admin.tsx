/** Administration of the whole platform; the hub's own user page is one of its tabs. */
import { useState } from 'react';

import { useChange, useClient, useList, useMe, useOne, usePlace } from '../context';
import { bytes, money, price, spec, trim } from '../format';
import { useWords, type Key } from '../i18n';
import { Button, CopyButton, Link, type Action } from '../parts/buttons';
import { Dialog, useConfirm } from '../parts/dialog';
import { FormProblem, problemOf, SelectField, TextField } from '../parts/form';
import { Card, Page } from '../parts/layout';
import { LogView } from '../parts/log';
import { Empty, Loaded } from '../parts/states';
import { Chips, DataTable, SmallTable, useTableState, type Column } from '../parts/table';
import { useNotify, useSentence } from '../parts/toast';
import { AcceleratorCard, Age, Bar, Moment, shareText, State } from '../parts/values';
import type { Flavor, Image, Invite, Node, Overview, Price, Profile, User } from '../types';
import { useFlavors, useImages } from './catalog';
import { EndpointTable } from './endpoints';
import { EnvironmentTable } from './environments';
import { OrganisationPage } from './organisation';
import { JobTable } from './jobs';
import { Tile } from './usage';

const SECTIONS: { id: string; title: Key; show: () => JSX.Element }[] = [
  { id: 'overview', title: 'tab.overview', show: () => <OverviewSection /> },
  { id: 'environments', title: 'environment.many', show: () => <EnvironmentTable who="all" /> },
  { id: 'jobs', title: 'job.many', show: () => <JobTable who="all" /> },
  { id: 'endpoints', title: 'endpoint.many', show: () => <EndpointTable who="all" /> },
  { id: 'tenants', title: 'tenant.many', show: () => <OrganisationPage /> },
  { id: 'accounts', title: 'admin.accounts', show: () => <UsersSection /> },
  { id: 'catalogue', title: 'admin.catalogue', show: () => <CatalogueSection /> },
  { id: 'nodes', title: 'admin.nodes', show: () => <NodesSection /> },
  { id: 'billing', title: 'admin.billing', show: () => <PricesSection /> }
];

export function AdminPage({ section = 'overview' }: { section?: string }): JSX.Element {
  const { t } = useWords();
  const place = usePlace();
  const me = useMe();
  const chosen = SECTIONS.find(one => one.id === section) ?? SECTIONS[0];
  return (
    <Loaded query={me}>
      {who =>
        who.admin ? (
          <Page title={t('admin.title')}>
            <nav className="lt-tabs" aria-label={t('admin.title')}>
              {place.hub('admin') && (
                <a className="lt-tab" href={place.hub('admin')}>
                  {t('admin.servers')}
                </a>
              )}
              {SECTIONS.map(one => (
                <a
                  key={one.id}
                  className="lt-tab"
                  href={place.href(`/admin/${one.id}`)}
                  aria-current={one === chosen ? 'page' : undefined}
                  onClick={event => {
                    event.preventDefault();
                    place.open(`/admin/${one.id}`);
                  }}
                >
                  {t(one.title)}
                </a>
              ))}
            </nav>
            <div className="lt-tab-panel">{chosen.show()}</div>
          </Page>
        ) : (
          <Page title={t('admin.title')}>
            <Empty text={t('admin.denied')} />
          </Page>
        )
      }
    </Loaded>
  );
}

const useNodes = () => useList<Node>('monitor', 'nodes', { every: 3000 });

function nodesOf(data: { items: Node[] } | Node[]): Node[] {
  return Array.isArray(data) ? data : data.items;
}

function OverviewSection(): JSX.Element {
  const { t } = useWords();
  const query = useOne<Overview>('monitor', 'overview', { every: 5000 });
  const nodes = useNodes();
  return (
    <Loaded query={query}>
      {data => (
        <>
          <div className="lt-tiles">
            {(['environments', 'jobs', 'endpoints'] as const).map(kind => (
              <Tile
                key={kind}
                title={t(`${kind.slice(0, -1)}.many` as Key)}
                value={data.waiting[kind] ? `${data.running[kind]} · ${t('home.waiting', { count: data.waiting[kind] })}` : String(data.running[kind])}
                to={`/admin/${kind}`}
              />
            ))}
            <Tile title={t('home.cost')} value={money(data.cost_this_month_micro, data.currency)} to="/usage?who=all" />
          </div>
          <Loaded query={nodes} rows={4}>
            {list => (
              <div className="lt-nodes">
                {nodesOf(list).map(node => (
                  <NodeCard key={node.name} node={node} short />
                ))}
              </div>
            )}
          </Loaded>
        </>
      )}
    </Loaded>
  );
}

function NodesSection(): JSX.Element {
  const { t } = useWords();
  const query = useNodes();
  return (
    <Loaded query={query}>
      {data =>
        nodesOf(data).length ? (
          <div className="lt-nodes">
            {nodesOf(data).map(node => (
              <NodeCard key={node.name} node={node} />
            ))}
          </div>
        ) : (
          <Empty text={t('node.empty')} />
        )
      }
    </Loaded>
  );
}

function NodeCard({ node, short }: { node: Node; short?: boolean }): JSX.Element {
  const { t } = useWords();
  return (
    <Card title={node.name}>
      {node.allocated && <NodeState node={node} />}
      <div className="lt-bars">
        <Bar neutral label={t('resource.cpu')} used={node.cpu.used} total={node.cpu.total} text={t(node.cpu.total === 1 ? 'monitor.core' : 'monitor.cores', { used: trim(node.cpu.used), total: trim(node.cpu.total) })} />
        <Bar neutral={node.allocated} label={t('resource.memory')} used={node.memory.used} total={node.memory.total} text={shareText(node.memory, 'bytes')} />
        {node.disk.total > 0 && <Bar neutral={node.allocated} label={t('resource.disk')} used={node.disk.used} total={node.disk.total} text={shareText(node.disk, 'bytes')} />}
        {Object.entries(node.devices).map(([name, share]) => (
          <Bar key={name} neutral label={name} used={share.used} total={share.total} />
        ))}
      </div>
      <div className="lt-gpus">
        {node.accelerators.map(gpu => (
          <AcceleratorCard key={gpu.index} gpu={gpu} />
        ))}
      </div>
      {!short && node.isolation && <Isolation isolation={node.isolation} />}
    </Card>
  );
}

/** Of a cluster's node: whether it takes pods, and what its amounts mean. */
function NodeState({ node }: { node: Node }): JSX.Element {
  const { t } = useWords();
  const [colour, word]: [string, Key] = !node.ready ? ['red', 'node.notReady'] : node.reason ? ['amber', 'node.closed'] : ['green', 'node.ready'];
  return (
    <>
      <p className="lt-state">
        <span className={`lt-dot lt-dot-${colour}`} aria-hidden="true" /> {t(word)}
      </p>
      {node.reason && <p>{node.reason}</p>}
      <h3>{t('node.allocated')}</h3>
    </>
  );
}

function Isolation({ isolation }: { isolation: NonNullable<Node['isolation']> }): JSX.Element {
  const { t } = useWords();
  return (
    <div className="lt-isolation">
      <h3>{t('node.isolation')}</h3>
      <p>{[isolation.mode, isolation.network, isolation.limits].flat().filter(Boolean).join(' · ')}</p>
      {isolation.missing.length > 0 && (
        <>
          <p className="lt-state">
            <span className="lt-dot lt-dot-amber" aria-hidden="true" /> {t('node.missing')}
          </p>
          <ul>
            {isolation.missing.map(sentence => (
              <li key={sentence}>{sentence}</li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}

function UsersSection(): JSX.Element {
  const { t, word } = useWords();
  const confirm = useConfirm();
  const notify = useNotify();
  const sentence = useSentence();
  const client = useClient();
  const state = useTableState();
  const [adding, setAdding] = useState(false);
  const [invite, setInvite] = useState<{ user: string; invite: Invite } | null>(null);
  const query = useList<User>('tenancy', 'users', { params: state.params });
  const change = useChange((_client, { name, body }: { name: string; body: object }) => client.send('PATCH', 'tenancy', `users/${encodeURIComponent(name)}`, body), 'tenancy');
  const remove = useChange((_client, name: string) => client.send('DELETE', 'tenancy', `users/${encodeURIComponent(name)}`), 'tenancy');
  const onError = (error: unknown): void => notify(sentence(error), 'bad');
  const makeInvite = (name: string): void => {
    client
      .send<Invite>('POST', 'tenancy', `users/${encodeURIComponent(name)}/invite`)
      .then(made => setInvite({ user: name, invite: made }))
      .catch(onError);
  };
  const ask = async (title: string, text: string, verb: string, then: () => void): Promise<void> => {
    if (await confirm({ title, text, verb, danger: true })) then();
  };
  const actions = (user: User): Action[] => [
    { label: t('user.invite'), run: () => makeInvite(user.name) },
    {
      label: user.disabled ? t('user.enable') : t('user.disable'),
      run: () =>
        user.disabled
          ? change.mutate({ name: user.name, body: { disabled: false } }, { onError })
          : void ask(t('user.disableTitle', { name: user.name }), t('user.disableText'), t('user.disable'), () => change.mutate({ name: user.name, body: { disabled: true } }, { onError }))
    },
    {
      label: user.admin ? t('user.revokeAdmin') : t('user.makeAdmin'),
      run: () =>
        void ask(
          user.admin ? t('user.revokeAdminTitle', { name: user.name }) : t('user.makeAdminTitle', { name: user.name }),
          user.admin ? t('user.revokeAdminText') : t('user.makeAdminText'),
          user.admin ? t('user.revokeAdmin') : t('user.makeAdmin'),
          () => change.mutate({ name: user.name, body: { admin: !user.admin } }, { onError })
        )
    },
    {
      label: t('action.delete'),
      danger: true,
      run: () => void ask(t('user.deleteTitle', { name: user.name }), t('user.deleteText'), t('action.delete'), () => remove.mutate(user.name, { onError }))
    }
  ];
  const columns: Column<User>[] = [
    { id: 'display_name', title: t('field.name'), grow: true, by: user => user.display_name, cell: user => user.display_name || user.name },
    { id: 'name', title: t('member.login'), by: user => user.name, cell: user => <code>{user.name}</code> },
    {
      id: 'state',
      title: t('field.state'),
      cell: user => (
        <span className="lt-state">
          <span className={`lt-dot lt-dot-${user.disabled ? 'red' : 'green'}`} aria-hidden="true" />
          {user.disabled ? t('user.disabled') : t('user.active')}
          {user.admin && <span className="lt-badge">{word('role.', 'admin')}</span>}
        </span>
      )
    },
    {
      id: 'tenants',
      title: t('tenant.many'),
      cell: user => (
        <span className="lt-row">
          {user.tenants.map(one => (
            <Link key={one.slug} to={`/organisation/${one.slug}`}>{`${one.slug} (${word('role.', one.role)})`}</Link>
          ))}
        </span>
      )
    },
    { id: 'last_login_at', title: t('user.lastLogin'), right: true, by: user => user.last_login_at, cell: user => <Age at={user.last_login_at} /> },
    { id: 'created_at', title: t('field.created'), right: true, extra: true, by: user => user.created_at, cell: user => <Age at={user.created_at} /> }
  ];
  return (
    <>
      <DataTable
        name="users"
        label={t('admin.accounts')}
        query={query}
        state={state}
        columns={columns}
        keyOf={user => user.name}
        actions={actions}
        filters={
          <Button kind="primary" onClick={() => setAdding(true)}>
            {t('user.new')}
          </Button>
        }
        empty={<Empty text={t('user.empty')} />}
      />
      {adding && (
        <UserDialog
          onClose={() => setAdding(false)}
          onMade={name => {
            setAdding(false);
            makeInvite(name);
          }}
        />
      )}
      {invite && (
        <Dialog title={t('user.inviteTitle', { name: invite.user })} onClose={() => setInvite(null)}>
          <div className="lt-form">
            <p className="lt-dialog-text">{t('user.inviteText')}</p>
            <div className="lt-command">
              <code>{invite.invite.link}</code> <CopyButton text={invite.invite.link} />
            </div>
            <p className="lt-hint">
              {t('user.inviteExpires')} <Moment at={invite.invite.expires_at} />
            </p>
            <footer className="lt-dialog-foot">
              <Button kind="primary" onClick={() => setInvite(null)}>
                {t('action.close')}
              </Button>
            </footer>
          </div>
        </Dialog>
      )}
    </>
  );
}

function UserDialog({ onClose, onMade }: { onClose: () => void; onMade: (name: string) => void }): JSX.Element {
  const { t } = useWords();
  const [name, setName] = useState('');
  const [displayName, setDisplayName] = useState('');
  const save = useChange((client, body: object) => client.send<User>('POST', 'tenancy', 'users', body), 'tenancy');
  const onSubmit = (event: React.FormEvent): void => {
    event.preventDefault();
    save.mutate({ name: name.trim(), display_name: displayName.trim() }, { onSuccess: user => onMade(user?.name ?? name.trim()) });
  };
  return (
    <Dialog title={t('user.new')} onClose={onClose}>
      <form className="lt-form" onSubmit={onSubmit}>
        <TextField label={t('member.login')} value={name} onChange={setName} required autoFocus mono hint={t('user.nameHint')} problem={problemOf(save.error, 'name')} />
        <TextField label={t('user.displayName')} value={displayName} onChange={setDisplayName} problem={problemOf(save.error, 'display_name')} />
        <FormProblem error={save.error} fields={['name', 'display_name']} />
        <footer className="lt-dialog-foot">
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button kind="primary" submit busy={save.isPending} disabled={!name.trim()}>
            {t('user.create')}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}

function ImagesSection(): JSX.Element {
  const { t, title } = useWords();
  const notify = useNotify();
  const sentence = useSentence();
  const query = useImages();
  const [log, setLog] = useState<Image | null>(null);
  const build = useChange((client, name: string) => client.send('POST', 'catalog', `images/${encodeURIComponent(name)}/build`), 'catalog');
  const actions = (image: Image): Action[] => [
    {
      label: image.state === 'ready' ? t('image.rebuild') : t('image.build'),
      disabled: image.state === 'building',
      run: () => build.mutate(image.name, { onError: error => notify(sentence(error), 'bad') })
    },
    { label: t('tab.log'), run: () => setLog(image) }
  ];
  return (
    <>
      <p className="lt-hint">{t('image.about')}</p>
      <Loaded query={query}>
        {data =>
          data.items.length ? (
            <SmallTable
              label={t('image.many')}
              rows={data.items}
              keyOf={image => image.name}
              actions={actions}
              columns={[
                { id: 'name', title: t('field.name'), grow: true, cell: image => title(image.title, image.name) },
                { id: 'framework', title: t('model.framework'), cell: image => `${image.framework} ${image.version}` },
                { id: 'state', title: t('field.state'), cell: image => <State phase={image.state} reason={image.message} /> },
                {
                  id: 'progress',
                  title: t('image.progress'),
                  cell: image =>
                    image.state === 'building' ? <progress value={image.progress} max={1} aria-label={t('image.progress')} title={image.message} /> : <span className="lt-hint lt-clip">{image.message}</span>
                },
                { id: 'requirements', title: t('image.requirements'), cell: image => <span className="lt-clip lt-clip-short" title={image.requirements.join('\n')}>{image.requirements.join(', ')}</span> }
              ]}
            />
          ) : (
            <Empty text={t('image.empty')} />
          )
        }
      </Loaded>
      {log && (
        <Dialog title={`${title(log.title, log.name)} · ${t('tab.log')}`} onClose={() => setLog(null)} wide>
          <LogView service="catalog" path={`images/${encodeURIComponent(log.name)}/log`} live={log.state === 'building'} fileName={`image-${log.name}.log`} />
        </Dialog>
      )}
    </>
  );
}

function CatalogueSection(): JSX.Element {
  const words = useWords();
  const { t, title } = words;
  const place = usePlace();
  const flavors = useFlavors();
  const profiles = useList<Profile>('catalog', 'profiles', { params: { limit: 500 } });
  const shown = place.query.get('show') ?? 'flavors';
  return (
    <>
      <div className="lt-toolbar">
        <Chips name="show" choices={[{ value: 'flavors', label: t('flavor.many') }, { value: 'images', label: t('image.many') }, { value: 'profiles', label: t('profile.many') }]} />
        <span className="lt-spring" />
        <span className="lt-hint">{t('admin.catalogueHint')}</span>
      </div>
      {shown === 'images' ? (
        <ImagesSection />
      ) : shown === 'flavors' ? (
        <Loaded query={flavors}>
          {data => (
            <SmallTable<Flavor>
              label={t('flavor.many')}
              rows={data.items}
              keyOf={flavor => flavor.name}
              columns={[
                { id: 'name', title: t('field.name'), cell: flavor => title(flavor.title, flavor.name) },
                { id: 'spec', title: t('flavor.spec'), grow: true, cell: flavor => <span className="lt-wrap">{spec(flavor, words)} {flavor.simulated && <span className="lt-badge">{t('gpu.simulated')}</span>}</span> },
                { id: 'disk', title: t('resource.disk'), right: true, cell: flavor => (flavor.disk ? bytes(flavor.disk) : '–') },
                { id: 'architecture', title: t('flavor.architecture'), cell: flavor => flavor.architecture || '–' },
                { id: 'now', title: t('flavor.now'), cell: flavor => <span className="lt-state"><span className={`lt-dot lt-dot-${flavor.available_now ? 'green' : 'grey'}`} aria-hidden="true" />{flavor.available_now ? t('flavor.here') : t('flavor.absent')}</span> },
                { id: 'price', title: t('field.price'), right: true, cell: flavor => price(flavor.price_micro_per_hour, flavor.currency, words) }
              ]}
            />
          )}
        </Loaded>
      ) : (
        <Loaded query={profiles}>
          {data => (
            <SmallTable<Profile>
              label={t('profile.many')}
              rows={data.items}
              keyOf={profile => profile.name}
              columns={[
                { id: 'name', title: t('field.name'), grow: true, cell: profile => title(profile.title, profile.name) },
                { id: 'image', title: t('image.title'), cell: profile => profile.image },
                { id: 'flavor', title: t('flavor.title'), cell: profile => profile.flavor },
                { id: 'about', title: t('field.description'), cell: profile => <span className="lt-clip">{title(profile.description)}</span> }
              ]}
            />
          )}
        </Loaded>
      )}
    </>
  );
}

function PricesSection(): JSX.Element {
  const words = useWords();
  const { t, title } = words;
  const [editing, setEditing] = useState(false);
  const flavors = useFlavors();
  const currency = flavors.data?.items[0]?.currency ?? '';
  const query = useList<Price>('billing', 'prices');
  return (
    <>
      <div className="lt-toolbar">
        <p className="lt-hint">{t('price.about')}</p>
        <span className="lt-spring" />
        <Button kind="primary" onClick={() => setEditing(true)}>
          {t('price.new')}
        </Button>
      </div>
      <Loaded query={query}>
        {data =>
          data.items.length ? (
            <SmallTable
              label={t('admin.prices')}
              rows={data.items}
              keyOf={row => row.flavor + row.valid_from}
              columns={[
                { id: 'flavor', title: t('flavor.title'), grow: true, cell: row => title(flavors.data?.items.find(one => one.name === row.flavor)?.title, row.flavor) },
                { id: 'price', title: t('field.price'), right: true, cell: row => t('price.hour', { price: money(row.price_micro_per_hour, row.currency ?? currency) }) },
                { id: 'from', title: t('price.validFrom'), right: true, cell: row => <Moment at={row.valid_from} /> }
              ]}
            />
          ) : (
            <Empty text={t('price.empty')} />
          )
        }
      </Loaded>
      {editing && <PriceDialog flavors={flavors.data?.items ?? []} currency={currency} onClose={() => setEditing(false)} />}
    </>
  );
}

function PriceDialog({ flavors, currency, onClose }: { flavors: Flavor[]; currency: string; onClose: () => void }): JSX.Element {
  const { t, title } = useWords();
  const [flavor, setFlavor] = useState(flavors[0]?.name ?? '');
  const [amount, setAmount] = useState('');
  const [from, setFrom] = useState('');
  const save = useChange((client, body: object) => client.send('POST', 'billing', 'prices', body), 'billing', 'catalog');
  const onSubmit = (event: React.FormEvent): void => {
    event.preventDefault();
    save.mutate({ flavor, price_micro_per_hour: Math.round(Number(amount) * 1e6), valid_from: from ? new Date(from).toISOString() : undefined }, { onSuccess: onClose });
  };
  return (
    <Dialog title={t('price.new')} onClose={onClose}>
      <form className="lt-form" onSubmit={onSubmit}>
        <SelectField label={t('flavor.title')} value={flavor} onChange={setFlavor} choices={flavors.map(one => ({ value: one.name, label: title(one.title, one.name) }))} />
        <TextField label={t('price.amount', { currency })} value={amount} onChange={setAmount} type="number" required autoFocus problem={problemOf(save.error, 'price_micro_per_hour')} />
        <TextField label={t('price.validFrom')} value={from} onChange={setFrom} type="datetime-local" hint={t('price.fromHint')} problem={problemOf(save.error, 'valid_from')} />
        <FormProblem error={save.error} fields={['price_micro_per_hour', 'valid_from']} />
        <footer className="lt-dialog-foot">
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button kind="primary" submit busy={save.isPending} disabled={!(Number(amount) >= 0) || amount === ''}>
            {t('action.save')}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}

