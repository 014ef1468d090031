/** Choosing what to run on: profile cards, image, flavor, tenant, and what it will cost. */
import type { ReactNode } from 'react';

import { useList, useMe } from '../context';
import { price, spec } from '../format';
import { useWords } from '../i18n';
import { More, SelectField, type Choice } from '../parts/form';
import { Empty, Loaded } from '../parts/states';
import type { Flavor, Image, Profile } from '../types';

export interface Place2Run {
  tenant: string;
  profile: string;
  image: string;
  flavor: string;
}

export const NOWHERE: Place2Run = { tenant: '', profile: '', image: '', flavor: '' };

export const useFlavors = () => useList<Flavor>('catalog', 'flavors', { params: { limit: 500 }, every: 30_000 });
export const useImages = () => useList<Image>('catalog', 'images', { params: { limit: 500 }, every: data => (isBuilding(data) ? 2_000 : 30_000) });
export const useProfiles = (tenant: string) => useList<Profile>('catalog', 'profiles', { params: { tenant, limit: 500 }, every: 30_000 });

function isBuilding(data: unknown): boolean {
  return !!(data as { items?: Image[] } | undefined)?.items?.some(image => image.state === 'building');
}

/** What a choice means once defaults are filled in. */
export function resolve(choice: Place2Run, profiles: Profile[]): { profile?: Profile; image: string; flavor: string } {
  const profile = profiles.find(one => one.name === choice.profile);
  return { profile, image: choice.image || profile?.image || '', flavor: choice.flavor || profile?.flavor || '' };
}

/** Cards of the profiles, then tenant, image and flavor for those who want another. */
export function RunPlace(props: { value: Place2Run; onChange: (value: Place2Run) => void; more?: ReactNode }): JSX.Element {
  const { value, onChange } = props;
  const me = useMe();
  const words = useWords();
  const { t, title } = words;
  const tenant = value.tenant || me.data?.default_tenant || '';
  const profiles = useProfiles(tenant);
  const flavors = useFlavors();
  const images = useImages();
  const chosen = resolve(value, profiles.data?.items ?? []);
  const allowedFlavors = (flavors.data?.items ?? []).filter(flavor => !chosen.profile?.flavors?.length || chosen.profile.flavors.includes(flavor.name) || flavor.name === chosen.flavor);
  const allowedImages = (images.data?.items ?? []).filter(image => !chosen.profile?.images?.length || chosen.profile.images.includes(image.name) || image.name === chosen.image);
  const flavorChoices: Choice[] = allowedFlavors.map(flavor => ({
    value: flavor.name,
    label: `${title(flavor.title, flavor.name)} — ${spec(flavor, words)}${flavor.simulated ? ` (${t('gpu.simulated')})` : ''} — ${flavor.available_now ? price(flavor.price_micro_per_hour, flavor.currency, words) : t('flavor.absent')}`
  }));
  const imageChoices: Choice[] = allowedImages.map(image => ({
    value: image.name,
    label: `${title(image.title, image.name)} — ${image.framework} ${image.version}${image.state === 'ready' ? '' : ` · ${words.word('image.', image.state)}`}`
  }));
  const tenantChoices: Choice[] = (me.data?.tenants ?? []).map(one => ({ value: one.slug, label: one.path.join(' / ') || one.name }));
  return (
    <>
      <Loaded query={profiles} rows={3}>
        {data =>
          data.items.length ? (
            <div className="lt-profiles" role="radiogroup" aria-label={t('profile.title')}>
              {data.items.map(profile => (
                <ProfileCard
                  key={profile.name}
                  profile={profile}
                  flavor={flavors.data?.items.find(flavor => flavor.name === profile.flavor)}
                  image={images.data?.items.find(image => image.name === profile.image)}
                  chosen={profile.name === value.profile}
                  onChoose={() => onChange({ ...value, profile: profile.name, image: '', flavor: '' })}
                />
              ))}
            </div>
          ) : (
            <Empty text={t('profile.empty')} />
          )
        }
      </Loaded>
      <More>
        {tenantChoices.length > 1 && <SelectField label={t('tenant.title')} value={tenant} choices={tenantChoices} onChange={next => onChange({ ...NOWHERE, tenant: next })} />}
        <SelectField label={t('image.title')} value={chosen.image} choices={imageChoices} onChange={image => onChange({ ...value, image })} />
        <SelectField label={t('flavor.title')} value={chosen.flavor} choices={flavorChoices} onChange={flavor => onChange({ ...value, flavor })} />
        {props.more}
      </More>
    </>
  );
}

function ProfileCard(props: { profile: Profile; flavor?: Flavor; image?: Image; chosen: boolean; onChoose: () => void }): JSX.Element {
  const { profile, flavor, image } = props;
  const words = useWords();
  const { t, title } = words;
  const absent = flavor !== undefined && !flavor.available_now;
  return (
    <label className={`lt-profile ${props.chosen ? 'lt-profile-chosen' : ''}`}>
      <input type="radio" name="profile" checked={props.chosen} onChange={props.onChoose} />
      <span className="lt-profile-picture" aria-hidden="true">
        {/^(https?:|data:|\/)/.test(profile.picture ?? '') ? <img src={profile.picture} alt="" /> : profile.picture || title(profile.title, profile.name).slice(0, 1)}
      </span>
      <span className="lt-profile-text">
        <strong>{title(profile.title, profile.name)}</strong>
        <span className="lt-hint">{title(profile.description)}</span>
        <span className="lt-hint">
          {image ? `${image.framework} ${image.version}` : profile.image}
          {flavor ? ` · ${spec(flavor, words)}` : ''}
          {flavor?.simulated && <span className="lt-badge">{t('gpu.simulated')}</span>}
        </span>
        <span className="lt-profile-foot">
          <span className="lt-state">
            <span className={`lt-dot lt-dot-${absent ? 'grey' : profile.ready ? 'green' : 'amber'}`} aria-hidden="true" />
            {absent ? t('flavor.absent') : profile.ready ? t('profile.ready') : t('profile.firstBuild')}
          </span>
          <span className="lt-number">{flavor ? price(flavor.price_micro_per_hour, flavor.currency, words) : ''}</span>
        </span>
      </span>
    </label>
  );
}

/** "uses 4 cores · 8 GiB, 4.80 CNY an hour, starts now" before the click. */
export function Effect({ flavor: name, count = 1 }: { flavor: string; count?: number }): JSX.Element | null {
  const words = useWords();
  const { t } = words;
  const flavor = useFlavors().data?.items.find(one => one.name === name);
  if (!flavor) return null;
  const cost = price(flavor.price_micro_per_hour * count, flavor.currency, words);
  return (
    <p className="lt-effect" aria-live="polite">
      {t('effect.uses', { spec: `${count > 1 ? `${count} × ` : ''}${spec(flavor, words)}`, cost })} {flavor.available_now ? t('effect.now') : t('effect.absent')}
    </p>
  );
}

/** Name → title of images and flavors, for lists. */
export function useTitles(): { flavor: (name: string) => string; image: (name: string) => string } {
  const { title } = useWords();
  const flavors = useFlavors().data?.items ?? [];
  const images = useImages().data?.items ?? [];
  return {
    flavor: name => title(flavors.find(one => one.name === name)?.title, name),
    image: name => title(images.find(one => one.name === name)?.title, name)
  };
}
